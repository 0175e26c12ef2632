"""Tests of what is told about devices without a DMA profile: lvmm.fence and lvmm.pci_names."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.host.cbuild import build

from lvmm.fence import describe, monitor_word, parse_exception
from lvmm.monitor_line import MonitorReport
from lvmm.pci_names import class_name, device_name

pytestmark = pytest.mark.host

IDS = """\
# a comment
1274  Ensoniq
\t5000  ES1370 [AudioPCI]
\t\t1274 0001  a subsystem
\t5880  5880B [AudioPCI]
8086  Intel Corporation
C 01  Mass storage controller
\t06  SATA controller
"""


@pytest.fixture
def ids(tmp_path: Path) -> tuple[Path, ...]:
    (tmp_path / "pci.ids").write_text(IDS)
    return tmp_path / "none", tmp_path / "pci.ids"


@pytest.mark.parametrize(
    ("vendor", "device", "name"),
    [
        ("1274", "5000", "Ensoniq ES1370 [AudioPCI]"),
        ("1274", "0001", "Ensoniq"),
        ("8086", "5880", "Intel Corporation"),
        ("0106", "0000", None),
    ],
)
def test_names_of_devices(
    ids: tuple[Path, ...], vendor: str, device: str, name: str | None
) -> None:
    assert device_name(vendor, device, ids) == name
    assert device_name(vendor, device, ids[:1]) is None


def test_names_of_classes() -> None:
    assert class_name("010601") == "SATA controller"
    assert class_name("01ff00") == "mass storage controller"
    assert class_name("ff0000") == "device of class ff0000"


def test_the_monitor_s_message_is_told() -> None:
    report = MonitorReport()
    report.take(
        '{"lvmm":"fence","address":"00:04.0","vendor":"fff0","device":"5000","class":"040100",'
        '"lacks":"profile","allowed":false}'
    )
    (message,) = report.fenced
    text = describe(message)
    assert text.startswith("the audio device fff0:5000 at 00:04.0 is kept from becoming bus master")
    assert "docs/adding-a-device.md" in text
    assert "Write a profile or give hints" in text
    assert "--unfenced 00:04.0" in text
    assert "memory.monitor_mib" in describe({**message, "lacks": "memory"})
    assert "Disable devices" in describe({**message, "lacks": "streams"})
    assert "not recorded" in describe({**message, "allowed": True})


@pytest.mark.parametrize(
    ("text", "address"),
    [("00:04.0", "00:04.0"), ("0000:0A:1f.7", "0a:1f.7"), ("all", "all")],
)
def test_exceptions(text: str, address: str) -> None:
    assert parse_exception(text) == address


@pytest.mark.parametrize(
    "text", ["", "4.0", "00:20.0", "00:04.8", "0001:00:04.0", "00:04.0,", "ALL"]
)
def test_what_is_no_exception(text: str) -> None:
    with pytest.raises(ValueError, match="neither a PCI address"):
        parse_exception(text)


def test_the_monitor_s_word() -> None:
    assert monitor_word(("00:04.0", "01:00.1", "00:04.0")) == "00:04.0,01:00.1"
    assert monitor_word(("00:04.0", "all")) == "all"


def monitor(*arguments: str, lacks: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the monitor's fence with one device, 1274:5000 at 00:04.0."""
    sources = ("tests/host/c/fence_driver.c", "hypervisor/core/fence.c", "hypervisor/lib/text.c")
    program = build("fence_driver", sources)
    environment = {} if lacks is None else {"FENCE_LACKS": lacks}
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, env=environment
    )


@pytest.mark.parametrize(
    ("exceptions", "allowed", "is_open"),
    [
        ("-", False, False),
        ("all", True, True),
        ("00:04.0", True, True),
        ("01:1f.7,00:04.0", True, True),
        ("00:04.1", False, True),
        (",".join(["00:05.0"] * 7 + ["00:04.0"]), True, True),
    ],
)
def test_the_monitor_lets_excepted_devices_only(
    exceptions: str, allowed: bool, is_open: bool
) -> None:
    done = monitor(exceptions, "0x3", "0x7", "0x407", "boot")
    assert done.returncode == 0
    first, told, logged, *rest = done.stdout.splitlines()
    assert first == "0x3"
    message = json.loads(told)
    assert message == {
        "lvmm": "fence",
        "address": "00:04.0",
        "vendor": "1274",
        "device": "5000",
        "class": "040100",
        "lacks": "profile",
        "allowed": allowed,
    }
    assert logged == f"logged 20 1274:5000 40100 {int(allowed)}"
    values = ["0x7", "0x407", "0x7"] if allowed else ["0x3", "0x403", "0x3"]
    assert rest == [*values, f"open {int(is_open)}"], "told once"


def test_the_monitor_says_what_there_was_no_room_for() -> None:
    done = monitor("-", "0x7", lacks="memory")
    assert json.loads(done.stdout.splitlines()[0])["lacks"] == "memory"


@pytest.mark.parametrize(
    "exceptions",
    [
        *("", "none", "00:04", "0:04.0", "00:20.0", "00:04.8", "00:04.0 ", "00:04.0,", ",00:04.0"),
        ",".join(["00:04.0"] * 9),
    ],
)
def test_the_monitor_refuses_other_words(exceptions: str) -> None:
    done = monitor(exceptions)
    assert done.returncode == 1
    assert done.stdout.startswith(f"lvmm: unfenced={exceptions}: it is all, or up to 8 PCI")
