"""`./lvmm doctor`: machines and boards that lack something, and what is told about it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lvmm import cli
from lvmm.board import load_board
from lvmm.cache import cache_dir
from lvmm.doctor import command, machine
from lvmm.doctor.findings import Finding, State, is_fine, render
from lvmm.doctor.machine import MACHINE_MIB, PURPOSES, Machine, SerialLine, look, machine_findings
from lvmm.doctor.probe import Probe, board_findings, read_probe
from lvmm.errors import MachineError

pytestmark = pytest.mark.host

BOARD = load_board("bochs-vtx")
RUN_MIB = 600

FINE = Machine(
    own_python=True,
    has_apt=True,
    installer="root",
    missing={**dict.fromkeys(PURPOSES, ()), "tests": ()},
    has_pci_names=True,
    emulator="/cache/bochs",
    kernels={"stock": "6.1.0-1-amd64", "small": "6.1.0-1-cloud-amd64"},
    cache="/cache",
    cache_free=10_000,
    work="/work",
    work_free=10_000,
    memory_free=4 * MACHINE_MIB,
    processors=2,
    ports="",
    serial=(),
)


def told(found: Machine) -> dict[str, Finding]:
    return {finding.subject: finding for finding in machine_findings(found, RUN_MIB)}


def test_a_machine_that_has_all() -> None:
    findings = machine_findings(FINE, RUN_MIB)
    assert {finding.state for finding in findings} == {State.OK}
    assert not any(finding.advice for finding in findings)
    assert is_fine(findings)


@pytest.mark.parametrize(
    ("changes", "subject", "state", "words"),
    [
        ({"own_python": False}, "Python", State.WARNING, "./lvmm"),
        (
            {"missing": {"compiler": ("gcc", "make")}},
            "packages: compiler",
            State.MISSING,
            "gcc make",
        ),
        ({"missing": {"tests": ("gdb",)}}, "packages: tests", State.WARNING, "apt-get install"),
        ({"has_pci_names": False}, "packages: names", State.WARNING, "pci.ids"),
        ({"emulator": None}, "emulator", State.MISSING, "builds it"),
        ({"kernels": {"stock": None}}, "kernel: stock", State.WARNING, "apt"),
        ({"work_free": 2 * RUN_MIB - 1}, "disk: recordings", State.WARNING, "needed are 600"),
        ({"work_free": RUN_MIB - 1}, "disk: recordings", State.MISSING, "make room"),
        ({"emulator": None, "cache_free": 100}, "disk: cache", State.MISSING, "make room"),
        ({"memory_free": MACHINE_MIB - 1}, "memory", State.MISSING, "end other programs"),
        ({"memory_free": MACHINE_MIB}, "memory", State.WARNING, "end other programs"),
        ({"ports": "no free UDP port"}, "loopback", State.MISSING, "127.0.0.1"),
        (
            {"serial": (SerialLine("/dev/ttyUSB0", False),)},
            *("serial line", State.WARNING, "dialout"),
        ),
        ({"serial": (SerialLine("/dev/ttyUSB0", True),)}, "serial line", State.OK, "/dev/ttyUSB0"),
    ],
)
def test_what_is_not_as_it_should_be(
    changes: dict[str, object], subject: str, state: State, words: str
) -> None:
    found = dataclasses.replace(FINE, **changes)  # type: ignore[arg-type]
    finding = told(found)[subject]
    assert finding.state is state
    assert words in f"{finding.text} {finding.advice}"
    assert is_fine(machine_findings(found, RUN_MIB)) == (state is not State.MISSING)


@pytest.mark.parametrize(
    ("has_apt", "installer", "words"),
    [
        (True, "root", "apt-get install --no-install-recommends xorriso, or let the first run"),
        (True, "sudo", "sudo apt-get install"),
        (True, "", "as root, for want of sudo"),
        (False, "root", "there is no apt"),
    ],
)
def test_how_packages_are_installed(has_apt: bool, installer: str, words: str) -> None:
    lacks = dataclasses.replace(
        FINE, has_apt=has_apt, installer=installer, missing={"boot images": ("xorriso",)}
    )
    assert words in told(lacks)["packages: boot images"].advice


def test_this_machine_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an empty cache, which stays empty."""
    monkeypatch.setenv("LVMM_CACHE", str(tmp_path / "cache"))
    found = look()
    assert found.emulator is None
    assert set(found.kernels.values()) == {None}
    assert found.cache == str(cache_dir())
    assert list(cache_dir().iterdir()) == []
    assert found.memory_free > 0 and found.cache_free > 0


def test_serial_lines(tmp_path: Path) -> None:
    for name in ("ttyUSB1", "ttyACM0", "ttyS0"):
        (tmp_path / name).touch()
    lines = machine._serial_lines(tmp_path)
    assert [Path(line.path).name for line in lines] == ["ttyACM0", "ttyUSB1"]


SAID = [
    '{"lvmm":"start","mode":"record","version":"0.3","board":"bochs-vtx"}',
    '{"lvmm":"cpu","brand":"  Some CPU   @ 2 GHz","signature":"50654"}',
    '{"lvmm":"probe","what":"vtx","ok":true}',
    '{"lvmm":"probe","what":"memory","ok":true}',
    '{"lvmm":"probe","what":"log","ok":true}',
    "lvmm: counter of conditional branches exact",
    "lvmm: 2 SMIs during the counter self-test",
    '{"lvmm":"probe","what":"counter","ok":true}',
    '{"lvmm":"probe","what":"ecam","ok":true}',
    '{"lvmm":"probe","what":"acpi","ok":true}',
    '{"lvmm":"ecam","base":"e0000000","size":268435456,"segment":0,"first_bus":0}',
    '{"lvmm":"pci","address":"00:00.0","vendor":"8086","device":"1237","class":"060000",'
    '"profile":"","room":0,"lacks":"","shown":[],"hidden":[]}',
    '{"lvmm":"pci","address":"00:03.0","vendor":"8086","device":"100e","class":"020000",'
    '"profile":"e1000","room":7340032,"lacks":"","shown":[1],"hidden":[5,17,99]}',
    '{"lvmm":"pci","address":"00:04.0","vendor":"fff0","device":"0001","class":"040100",'
    '"profile":"","room":0,"lacks":"","shown":[],"hidden":[]}',
    '{"lvmm":"probe","what":"pci","ok":true}',
    '{"lvmm":"halted","reason":"probe","branches":0,"events":0,"rip":0}',
]


def of_board(lines: list[str]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in board_findings(BOARD, read_probe(lines))}


def replaced(old: str, *new: str) -> list[str]:
    return [line for one in SAID for line in (new if one == old else (one,))]


def test_a_board_that_can_record() -> None:
    assert read_probe(SAID).finished
    findings = of_board(SAID)
    assert is_fine(findings.values())
    assert findings["CPU"].text == "Some CPU @ 2 GHz, signature 50654"
    assert "exact; 2 SMIs" in findings["counter"].text
    assert "256 MiB at 0xe0000000" in findings["PCI access"].text
    card = findings["PCI 00:03.0"]
    assert card.state is State.OK
    assert "DMA profile e1000, with 7.0 MiB of shadow memory; hidden while" in card.text
    assert "recording: MSI, MSI-X, capability 0x63" in card.text
    assert findings["PCI 00:00.0"].state is State.OK
    unknown = findings["PCI 00:04.0"]
    assert unknown.state is State.WARNING
    assert "audio device fff0:0001: fenced" in unknown.text
    assert "docs/adding-a-device.md" in unknown.advice


@pytest.mark.parametrize(
    ("what", "subject", "state"),
    [
        ("vtx", "VT-x", State.MISSING),
        ("memory", "memory map", State.MISSING),
        ("log", "log region", State.WARNING),
        ("counter", "counter", State.MISSING),
        ("ecam", "PCI access", State.MISSING),
        ("acpi", "ACPI", State.WARNING),
    ],
)
def test_what_a_board_lacks(what: str, subject: str, state: State) -> None:
    verdict = f'{{"lvmm":"probe","what":"{what}","ok":true}}'
    lines = replaced(verdict, "lvmm: it is not there", verdict.replace("true", "false"))
    finding = of_board(lines)[subject]
    assert finding.state is state
    assert "it is not there" in finding.text
    assert finding.advice
    without_words = of_board(replaced(verdict, verdict.replace("true", "false")))[subject]
    assert without_words.text
    silent = of_board(replaced(verdict))[subject]
    assert silent.state is State.MISSING


def test_devices_of_the_board_s_file_that_are_not_there() -> None:
    card = next(line for line in SAID if "00:03.0" in line)
    gone = board_findings(BOARD, read_probe(replaced(card)))
    assert "nic0 of the board's file is not there" in gone[-1].text
    other = board_findings(BOARD, read_probe(replaced(card, card.replace('"e1000"', '""'))))
    assert "has not the profile e1000" in other[-1].text
    assert not is_fine(gone) and not is_fine(other)


@pytest.mark.parametrize(("lacks", "remedy"), [("memory", "monitor_mib"), ("streams", "Disable")])
def test_a_device_that_there_is_no_room_for(lacks: str, remedy: str) -> None:
    card = next(line for line in SAID if "00:03.0" in line)
    poor = card.replace('"room":7340032,"lacks":""', f'"room":0,"lacks":"{lacks}"')
    finding = of_board(replaced(card, poor))["PCI 00:03.0"]
    assert finding.state is State.WARNING
    assert "DMA profile e1000, but the devices before it" in finding.text
    assert remedy in finding.advice


def test_a_monitor_that_stops_in_between() -> None:
    assert not read_probe(SAID[:-1]).finished
    assert not read_probe([*SAID[:-1], SAID[-1].replace('"probe"', '"error"')]).finished


def test_the_table() -> None:
    table = render(
        "here", [Finding("a", State.OK, "there"), Finding("bc", State.MISSING, "no", "x")]
    )
    assert table.splitlines() == [
        "here",
        "  ok       a   there",
        "  missing  bc  no",
        f"{'':15}-> x",
    ]


@pytest.fixture
def fine_machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(command, "look", lambda: FINE)
    return monkeypatch


def test_the_command(fine_machine: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    assert "the board" not in capsys.readouterr().out
    fine_machine.setattr(command, "probe_board", lambda board: read_probe(SAID))
    assert cli.main(["doctor", "--board", "bochs-vtx", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fine"] is True
    assert facts["board"]["name"] == "bochs-vtx"
    states = {finding["state"] for finding in facts["machine"]}
    assert states == {"ok"}
    assert cli.main(["doctor", "--board", "nobody's"]) == 2


def test_the_command_where_something_is_missing(
    fine_machine: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_board: object) -> Probe:
        raise MachineError("the emulator was killed")

    fine_machine.setattr(command, "probe_board", fails)
    assert cli.main(["doctor", "--board", "bochs-vtx"]) == 1
    assert "the emulator was killed" in capsys.readouterr().out
    fine_machine.setattr(command, "look", lambda: dataclasses.replace(FINE, emulator=None))
    assert cli.main(["doctor", "--board", "bochs-vtx"]) == 1
    assert "not booted: this machine lacks emulator" in capsys.readouterr().out
