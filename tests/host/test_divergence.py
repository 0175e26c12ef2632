"""The report of a divergence: every reason, every kind of event, and all that may be missing.

The messages are made as hypervisor/replay/divergence.c prints them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm import recording_dir
from lvmm.divergence import explain_divergence, render_divergence
from lvmm.logs import layout as log
from lvmm.logs.codec import GPR_NAMES, Event, Registers
from lvmm.logs.writer import LogWriter
from lvmm.recording_dir import FileEntry, Manifest
from lvmm.register_check import Difference, explanations

# One worker: they share what is made once.
pytestmark = [pytest.mark.host, pytest.mark.xdist_group(__name__)]

BASE = 0x10_0000  # where the guest's code is linked
COUNT = 60  # events in the recording
STEP = 10  # branches between them
OUT_CRC = 0x1234_5678
PAGE = bytes(4096)

STATE = log.FinalState(
    gpr=tuple(range(100, 116)),
    rip=BASE + 2,
    rflags=0x46,
    cr0=0x11,
    cr2=0,
    cr3=0x5000,
    cr4=0,
    cr8=0,
    efer=0,
    dr7=0x400,
    branches=(COUNT - 1) * STEP,
    segments=(log.Segment(0, 0, 0, 0, 0),) * 8,
    gdtr_base=0,
    idtr_base=0,
    gdtr_limit=0,
    idtr_limit=0,
)

PAYLOADS: list[log.Payload] = [
    log.In(0x3FD, 1, 0x60),
    log.MmioRead(0xFEE0_0390, 4, 0x1234),
    log.Rdmsr(0x1B, 0, 0xFEE0_0900),
    log.Rdtsc(123_456_789),
    log.Rdrand(4, 1, 0xABCD),
    log.Rdseed(8, 0, 0),
    log.Interrupt(0x31),
    log.Nmi(),
    log.Dma(2, 0x20_0000, b"frame"),
    log.FirmwarePage(0xE_0000, PAGE),
    log.Rdpmc(1, 77),
    log.Mark(b"here"),
    log.End(log.EndReason.HALT, STATE.pack()),
    log.Rdtscp(123_456_790),
    log.InString(0x1F0, 2, bytes(512)),
]
ASYNC = (log.EventKind.INTERRUPT, log.EventKind.NMI, log.EventKind.DMA)


def registers_of(index: int) -> Registers:
    gpr = [0x1000 * register for register in range(16)]
    gpr[1] = index  # RCX counts
    return Registers(tuple(gpr), BASE + index % 4, 0x202)


def event_at(index: int, payload: log.Payload, full: bool = False) -> Event:
    registers = registers_of(index)
    return Event(
        payload,
        index * STEP,
        registers.rip,
        asynchronous=payload.KIND in ASYNC,
        check=registers.check(OUT_CRC),
        registers=registers if full else None,
    )


def some_events(middle: Event | None = None) -> list[Event]:
    """60 events; 16 and 32 store all registers. `middle` takes the place of event 40."""
    events = [
        event_at(index, PAYLOADS[index % 2 * 3], full=index in (16, 32)) for index in range(COUNT)
    ]
    if middle is not None:
        events[40] = middle
    return events


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ELF guest with the symbols first, second and third."""
    folder = tmp_path_factory.mktemp("guest")
    source = (
        ".globl first\nfirst: nop\nnop\ninb %dx, %al\nnop\nret\n"
        "second: mov $1, %eax\ncall first\nret\nthird: hlt\n"
    )
    (folder / "guest.S").write_text(source)
    path = folder / "guest.elf"
    subprocess.run(
        [
            *("gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"),
            *(f"-Wl,-Ttext={BASE:#x}", "-Wl,-efirst", "-o", str(path), str(folder / "guest.S")),
        ],
        check=True,
    )
    return path


CODE = bytes.fromhex("9090ec90c3b801000000e8f1ffffffc3f4")  # of that guest


class Case:
    """A recording directory, a memory image, and a message that can be changed."""

    def __init__(self, folder: Path, guest: Path, events: list[Event]) -> None:
        self.directory = folder / "recording"
        (self.directory / "guest").mkdir(parents=True)
        writer = LogWriter(RECORDING_ID, HEADER)
        for event in events:
            writer.write(event)
        writer.flush()
        self.log = self.directory / "log.lvmm"
        self.log.write_bytes(writer.data)
        (self.directory / "guest" / "guest.elf").write_bytes(guest.read_bytes())
        self.events = events
        self.ram: Path | None = folder / "ram.img"
        with self.ram.open("wb") as file:
            file.seek(BASE)
            file.write(CODE)
            file.truncate(4 << 20)
        self.write_manifest()

    def write_manifest(self, **changes: Any) -> None:
        entry = FileEntry("log.lvmm", 0, "")
        fields: dict[str, Any] = {
            "board": "bochs-vtx",
            "kind": "multiboot",
            "kernel": FileEntry("guest/guest.elf", 0, ""),
            "extra": (),
            **dict.fromkeys(("log", "console", "pages"), entry),
            **dict.fromkeys(("cmdline", "memory_sha256", "end_reason", "kernel_name"), ""),
            **dict.fromkeys(("tool_version", "monitor_sha256"), ""),
            **dict.fromkeys(("memory_mib", "branches", "rip", "events_total", "seed"), 0),
            **dict.fromkeys(("wall_s", "instructions"), 0),
            **{key: {} for key in ("events", "exits", "registers")},
            **changes,
        }
        recording_dir.write_manifest(self.directory, Manifest(**fields))

    def message(self, why: str, number: int, **changes: Any) -> dict[str, Any]:
        """A message about event `number` in which the replay is as recorded, but for changes."""
        event = self.events[number]
        regs = registers_of(number)
        message: dict[str, Any] = {
            "lvmm": "divergence",
            "why": why,
            "event": number,
            "branches": event.branches,
            "regs": [*regs.gpr, regs.rip, regs.rflags],
        }
        if not event.asynchronous:
            message |= identity("actual", event.payload)
        message |= identity("expected", event.payload)
        message |= {
            "expected_branches": event.branches,
            "expected_rip": event.rip,
            "expected_async": int(event.asynchronous),
            "check": event.check,
            "expected_check": event.check,
        }
        if event.registers is not None:
            message["expected_regs"] = [
                *event.registers.gpr,
                event.registers.rip,
                event.registers.rflags,
            ]
        message |= {"cr3": 0, "code": CODE[event.rip - BASE :][:15].hex(), **changes}
        return message

    def with_registers(self, message: dict[str, Any], registers: Registers) -> dict[str, Any]:
        """The message as the monitor gives it when the replay has these registers."""
        return {
            **message,
            "regs": [*registers.gpr, registers.rip, registers.rflags],
            "check": registers.check(OUT_CRC),
        }

    def explain(self, message: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The report, which must be JSON, and its text, which must tell the basic facts."""
        report = explain_divergence(json.loads(json.dumps(message)), self.directory, self.ram)
        assert json.loads(json.dumps(report)) == report
        text = render_divergence(report)
        assert message["why"] in text
        return report, text


def identity(name: str, payload: log.Payload) -> dict[str, Any]:
    """print_identity() of the monitor."""
    facts: dict[str, Any] = {name: payload.KIND.name}
    match payload:
        case log.In():
            facts |= {f"{name}_address": payload.port, f"{name}_size": payload.size}
        case log.MmioRead():
            facts |= {f"{name}_address": payload.gpa, f"{name}_size": payload.size}
        case log.Rdmsr():
            facts |= {f"{name}_address": payload.index}
        case log.Interrupt():
            facts |= {f"{name}_vector": payload.vector}
        case log.End():
            facts |= {f"{name}_reason": payload.reason}
    return facts


@pytest.fixture
def case(tmp_path: Path, guest: Path) -> Case:
    return Case(tmp_path, guest, some_events())


def findings(report: dict[str, Any]) -> str:
    return "\n".join(report["findings"])


# --- every kind of event ---------------------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.KIND.name)
@pytest.mark.parametrize("full", [False, True])
def test_each_kind_is_named(tmp_path: Path, guest: Path, payload: log.Payload, full: bool) -> None:
    middle = event_at(40, payload, full)
    case = Case(tmp_path, guest, some_events(middle))
    message = case.message("the position differs", 40)
    message["branches"] += 3
    report, text = case.explain(message)
    assert report["event"] == 40
    assert report["kind"] == payload.KIND.name
    assert report["recorded"]["branches"] == 400
    assert report["replayed"]["branches"] == 403
    assert report["last_good"]["index"] == 39
    assert report["branches_after_last_good"] == 13
    assert [event["index"] for event in report["last_events"]] == list(range(30, 40))
    assert text.startswith(f"DIVERGENCE at event 40 ({payload.KIND.name}): the position differs")
    assert "403 (+3)" in text
    assert "3 conditional branches" in findings(report)
    assert report["registers"]["stored"] == full
    assert report["notes"] == []


@pytest.mark.parametrize(
    ("payload", "about"),
    [
        (log.In(0x3FD, 1, 0x60), "port 0x3fd, 1 byte: 0x60"),
        (log.InString(0x1F0, 2, bytes(512)), "port 0x1f0, 512 bytes"),
        (log.MmioRead(0xFEE0_0390, 4, 0x1234), "0xfee00390, 4 bytes: 0x1234"),
        (log.Rdmsr(0x1B, 1, 0), "MSR 0x1b: #GP"),
        (log.Rdseed(8, 0, 0), "8 bytes: none (CF=0)"),
        (log.Interrupt(0x31), "vector 0x31"),
        (log.Dma(2, 0x20_0000, b"frame"), "stream 2, 5 bytes to 0x200000"),
        (log.FirmwarePage(0xE_0000, PAGE), "page 0xe0000"),
        (log.End(log.EndReason.HALT, STATE.pack()), "halt"),
    ],
)
def test_what_events_are_about(
    tmp_path: Path, guest: Path, payload: log.Payload, about: str
) -> None:
    case = Case(tmp_path, guest, some_events(event_at(40, payload)))
    report, text = case.explain(case.message("the position differs", 41))
    assert report["last_events"][-1]["about"] == about
    assert about in text


# --- every reason ----------------------------------------------------------------------------


def test_another_input(case: Case) -> None:
    why = "the guest asks for another input than the recorded one"
    report, text = case.explain(
        case.message(why, 40, actual="MMIO_READ", actual_address=0xFEC0_0010, actual_size=4)
    )
    assert "the guest asked for MMIO_READ 0xfec00010, 4 bytes, the recording has IN" in findings(
        report
    )
    assert "MMIO_READ 0xfec00010, 4 bytes" in text


def test_another_port_and_size(case: Case) -> None:
    report, _ = case.explain(case.message("x", 40, actual_address=0x71, actual_size=2))
    assert "address of the IN: recorded 0x3fd, replayed 0x71" in findings(report)
    assert "size of the IN: recorded 0x1, replayed 0x2" in findings(report)


def test_an_input_before_an_interrupt(tmp_path: Path, guest: Path) -> None:
    case = Case(tmp_path, guest, some_events(event_at(40, log.Interrupt(0x31), full=True)))
    message = case.message("the guest asks for another input than the recorded one", 40)
    message |= {"actual": "RDTSC", "branches": 399}
    report, _ = case.explain(message)
    assert "the guest asked for RDTSC, but the recording has INTERRUPT vector 0x31 first" in (
        findings(report)
    )
    assert "1 conditional branch before that event's position" in findings(report)


def test_an_interrupt_is_passed(tmp_path: Path, guest: Path) -> None:
    case = Case(tmp_path, guest, some_events(event_at(40, log.Interrupt(0x31), full=True)))
    message = case.message("passed the position of an asynchronous event", 40, branches=405)
    report, text = case.explain(message)
    assert "on its way to an asynchronous event (INTERRUPT vector 0x31)" in findings(report)
    assert "5 conditional branches past that event's position (0x100000 first+0x0)" in findings(
        report
    )
    assert "(the guest asked for nothing)" in text
    assert "Recorded at another position" in text


@pytest.mark.parametrize(("branches", "word"), [(403, "later"), (395, "earlier")])
def test_position_by_branches(case: Case, branches: int, word: str) -> None:
    report, _ = case.explain(case.message("the position differs", 40, branches=branches))
    assert word in findings(report)
    assert report["same_position"] is False


def test_position_by_rip(case: Case) -> None:
    message = case.message("the position differs", 40)
    message["regs"][16] = BASE + 5
    report, text = case.explain(message)
    assert "the same number of branches, but the replay is at 0x100005 second+0x0" in findings(
        report
    )
    assert report["replayed"]["symbol"] == "second+0x0"
    assert "first+0x0" in text


@pytest.mark.parametrize(("number", "name"), [(38, "earlier"), (42, "later")])
def test_position_of_another_event(case: Case, number: int, name: str) -> None:
    event = case.events[number]
    message = case.message("the position differs", 40, branches=event.branches)
    message["regs"][16] = event.rip
    report, _ = case.explain(message)
    assert f"the replay is at the position of event {number} (IN port 0x3fd" in findings(report)
    assert name in findings(report)


def test_registers_that_are_stored(case: Case) -> None:
    registers = registers_of(32)
    changed = replace(
        registers, gpr=(*registers.gpr[:8], 0xBAD, *registers.gpr[9:]), rflags=0x202 ^ 0x41
    )
    message = case.with_registers(case.message("registers or output differ", 32), changed)
    report, text = case.explain(message)
    assert report["registers"]["differing"] == [
        {"name": "r8", "recorded": "0x8000", "replayed": "0xbad"},
        {"name": "rflags", "recorded": "0x202", "replayed": "0x243", "flags": ["CF", "ZF"]},
    ]
    assert "these registers differ: r8, rflags" in findings(report)
    assert "CF ZF" in text
    assert set(report["registers"]["equal"]) == {*GPR_NAMES} - {"r8"}


def test_only_the_output_differs(case: Case) -> None:
    message = case.message("registers or output differ", 32)
    message["check"] ^= 0x55
    report, text = case.explain(message)
    assert report["registers"]["differing"] == []
    assert "port and memory-mapped writes" in findings(report)
    assert "all are equal to the recorded ones" in text


def test_registers_that_are_not_stored(case: Case) -> None:
    registers = registers_of(40)
    changed = replace(registers, gpr=(*registers.gpr[:3], 0x3001, *registers.gpr[4:]))
    message = case.with_registers(case.message("registers or output differ", 40), changed)
    report, text = case.explain(message)
    facts = report["registers"]
    assert facts["stored"] is False
    assert "which of them differ is not recorded" in findings(report)
    assert facts["last_snapshot"]["event"] == 32
    assert [each["name"] for each in facts["last_snapshot"]["changed"]] == ["rcx", "rbx"]
    assert "rax" in facts["last_snapshot"]["unchanged"]
    assert {
        "name": "rbx",
        "recorded": "0x3000",
        "replayed": "0x3001",
        "why": "its value at event 32",
    } in (facts["explanations"])
    assert "rbx: recorded 0x3000, replayed 0x3001: its value at event 32" in text
    assert "by chance" in text


def test_a_snapshot_at_the_same_rip(tmp_path: Path, guest: Path) -> None:
    events = some_events()
    events[33] = event_at(33, log.Rdtsc(1), full=True)
    case = Case(tmp_path, guest, events)
    report, text = case.explain(case.message("registers or output differ", 40, check=1))
    assert report["registers"]["last_snapshot"]["event"] == 33
    assert report["registers"]["site_snapshot"]["event"] == 32
    assert "last at this RIP: event 32" in text


def test_flags_that_explain_the_check(case: Case) -> None:
    changed = replace(registers_of(40), rflags=0x202 ^ 0x81)
    message = case.with_registers(case.message("registers or output differ", 40), changed)
    report, _ = case.explain(message)
    found = [e for e in report["registers"]["explanations"] if e["name"] == "rflags"]
    assert [each["flags"] for each in found] == [["CF", "SF"]]


def test_nothing_explains_the_check(case: Case) -> None:
    registers = registers_of(40)
    wild = replace(registers, gpr=tuple(value ^ 0x5A5A_1234 for value in registers.gpr))
    report, text = case.explain(
        case.with_registers(case.message("registers or output differ", 40), wild)
    )
    if not report["registers"]["explanations"]:  # one in 50 is explained by chance
        assert "several differ, or the output does" in text


def test_the_recording_ends_before_this_input(case: Case) -> None:
    message = case.message("the recording ends before this input", 59)
    message = {k: v for k, v in message.items() if "expected" not in k and k != "check"}
    report, text = case.explain(message | {"event": COUNT, "branches": 5000})
    assert report["recorded"] is None
    assert report["last_good"]["index"] == COUNT - 1
    assert "(the recording is over)" in text
    assert "the recording has no event 60" in findings(report)


def at_the_end(case: Case, why: str, **changes: Any) -> dict[str, Any]:
    """The monitor has taken the END event from the recording when it compares the states."""
    return {
        "lvmm": "divergence",
        "why": why,
        "event": COUNT,
        "branches": STATE.branches,
        "regs": [*STATE.gpr, STATE.rip, STATE.rflags],
        "actual": "END",
        "actual_reason": log.EndReason.HALT,
        "cr3": STATE.cr3,
        "code": CODE[2:].hex(),
        **changes,
    }


@pytest.fixture
def ended(tmp_path: Path, guest: Path) -> Case:
    events = some_events()
    end = log.End(log.EndReason.HALT, STATE.pack())
    final = Registers(STATE.gpr, STATE.rip, STATE.rflags)
    events[-1] = Event(end, STATE.branches, STATE.rip, check=final.check(1), registers=final)
    return Case(tmp_path, guest, events)


def test_the_final_state_differs(ended: Case) -> None:
    report, text = ended.explain(at_the_end(ended, "the final state differs"))
    assert (report["event"], report["kind"]) == (COUNT - 1, "END")
    assert report["last_good"]["index"] == COUNT - 2
    assert "does not print (cr0, cr2" in findings(report)
    assert "END halt" in text


def test_the_final_cr3_and_registers_differ(ended: Case) -> None:
    message = at_the_end(ended, "the final state differs", cr3=0x6000, branches=STATE.branches + 1)
    message["regs"][2] = 9
    report, _ = ended.explain(message)
    assert "final cr3: recorded 0x5000, replayed 0x6000" in findings(report)
    assert "final rdx: recorded 0x66, replayed 0x9" in findings(report)
    assert "branches at the end" in findings(report)


def test_another_end(ended: Case) -> None:
    why = "the run ends in another way than the recorded one"
    report, _ = ended.explain(at_the_end(ended, why, actual_reason=log.EndReason.TRIPLE_FAULT))
    assert "recorded end: halt, replayed: triple_fault" in findings(report)


def test_dma_to_memory_that_is_none(tmp_path: Path, guest: Path) -> None:
    case = Case(tmp_path, guest, some_events(event_at(40, log.Dma(1, 1 << 40, b"data"))))
    message = case.message("DMA to memory that this guest does not have", 40, actual="DMA")
    report, text = case.explain(message)
    assert report["kind"] == "DMA"
    assert "stream 1, 4 bytes to 0x10000000000" in text


# --- code ------------------------------------------------------------------------------------


def test_code_around_rip(case: Case) -> None:
    pytest.importorskip("capstone")
    report, text = case.explain(case.message("the position differs", 42))
    code = report["code"]
    assert (code["bits"], code["boundaries_sure"]) == (32, True)
    shown = [(line["text"], line["current"]) for line in code["instructions"]]
    assert shown[:3] == [("nop", False), ("nop", False), ("in al, dx", True)]
    assert ("call 0x100000", False) in shown
    assert "<first+0x0>" in text
    assert "=>           0x100002  ec" in text
    assert "Code around 0x100002 first+0x2 (32-bit)" in text


def test_code_of_another_guest_or_none(case: Case) -> None:
    pytest.importorskip("capstone")
    report, _ = case.explain(case.message("x", 42, code="0fa2f4"))
    assert [line["text"] for line in report["code"]["instructions"]] == ["cpuid", "hlt"]
    assert "not found in the replay's memory" in report["notes"][0]
    report, text = case.explain(case.message("x", 42, code=""))
    assert report["code"]["instructions"] == []
    assert "no code is mapped at RIP" in text


def test_64_bit_code_without_memory(case: Case) -> None:
    pytest.importorskip("capstone")
    case.ram = None
    message = case.message("x", 42, code="4889c8f4")
    message["regs"][0] = 1 << 40
    report, _ = case.explain(message)
    assert [line["text"] for line in report["code"]["instructions"]] == ["mov rax, rcx", "hlt"]
    assert "memory was not kept" in report["notes"][0]


# --- what may be missing ---------------------------------------------------------------------


def test_no_memory_file(case: Case) -> None:
    case.ram = case.directory / "missing"
    report, _ = case.explain(case.message("x", 40))
    assert any("cannot be read" in note for note in report["notes"])
    assert report["replayed"]["symbol"] == "first+0x0"


def test_no_manifest(case: Case) -> None:
    (case.directory / recording_dir.MANIFEST).unlink()
    report, _ = case.explain(case.message("x", 40))
    assert any(note.startswith("no symbols: ") for note in report["notes"])
    assert len(report["last_events"]) == 10


def test_no_kernel(case: Case) -> None:
    for kind in ("multiboot", "linux"):
        case.write_manifest(kind=kind, kernel=FileEntry("guest/gone", 0, ""))
        report, _ = case.explain(case.message("x", 40))
        assert any(note.startswith("no symbols: ") for note in report["notes"])


def test_boot_sector(case: Case) -> None:
    case.write_manifest(kind="sector")
    report, _ = case.explain(case.message("x", 40))
    assert "no symbols: a boot sector has none" in report["notes"]


def test_no_recording(case: Case) -> None:
    case.log.write_bytes(b"")
    report, text = case.explain(case.message("the position differs", 40, branches=404))
    assert any("cannot be read" in note for note in report["notes"])
    assert report["recorded"]["about"] == "IN port 0x3fd, 1 byte"
    assert report["last_events"] == []
    assert "404 (+4)" in text


@pytest.mark.parametrize("cut", [100, 700, 1000])
def test_damaged_recording(case: Case, cut: int) -> None:
    case.log.write_bytes(case.log.read_bytes()[:-cut] + bytes(cut))
    case.explain(case.message("x", 40))


def test_another_recording(case: Case) -> None:
    report, _ = case.explain(case.message("x", 40, expected_branches=4))
    assert any("not the recording that was replayed" in note for note in report["notes"])
    assert report["last_events"] == []


def test_the_first_event(case: Case) -> None:
    report, text = case.explain(case.message("the position differs", 0, branches=5))
    assert report["last_good"] is None
    assert report["branches_after_last_good"] is None
    assert "last good" not in text


def test_optional_packages_are_missing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("capstone", "elftools", "elftools.common.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    report, text = case.explain(case.message("x", 40))
    assert "no disassembly: the Python package capstone is missing" in report["notes"]
    assert "no symbols: the Python package pyelftools is missing" in report["notes"]
    assert "bytes at RIP: 9090ec90" in text


MALFORMED: list[dict[str, Any]] = [
    {},
    {"why": "x"},
    {"why": "x", "event": 1, "branches": 2, "regs": [1, 2], "cr3": 0, "code": ""},
    {"why": "x", "event": 1, "branches": 2, "regs": None, "cr3": 0, "code": ""},
    {"why": "x", "event": "?", "branches": 2, "regs": [0] * 18, "cr3": 0, "code": ""},
    {"why": "x", "event": 1, "branches": 2, "regs": [0] * 18, "cr3": 0, "code": "zz"},
]


@pytest.mark.parametrize("message", MALFORMED)
def test_malformed_message(case: Case, message: dict[str, Any]) -> None:
    report, text = case.explain({"why": "x", **message})
    assert report["notes"] == ["the monitor's message is malformed: there is nothing more to tell"]
    assert text.startswith("DIVERGENCE: x")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, guest: Path) -> Case:
    return Case(tmp_path_factory.mktemp("shared"), guest, some_events())


U64 = st.integers(0, (1 << 64) - 1)


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, COUNT - 1),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "event": st.integers(0, COUNT + 3),
            "branches": U64,
            "regs": st.lists(U64, min_size=18, max_size=18),
            "cr3": U64,
            "code": st.binary(max_size=15).map(bytes.hex),
            "actual": st.sampled_from(["IN", "END", "?"]),
            "actual_reason": st.integers(0, 255),
            "check": st.integers(0, 65535),
        },
    ),
)
def test_no_message_makes_it_fail(shared: Case, number: int, changes: dict[str, Any]) -> None:
    shared.explain(shared.message("why", number, **changes))


# --- the check -------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    gpr=st.lists(U64, min_size=16, max_size=16),
    register=st.integers(0, 15),
    value=U64,
    out_crc=st.integers(0, (1 << 32) - 1),
)
def test_one_changed_register_is_found(
    gpr: list[int], register: int, value: int, out_crc: int
) -> None:
    """Whatever the output was: the register that alone differs is among the explanations."""
    recorded = Registers(tuple(gpr), BASE, 0x202)
    changed = replace(recorded, gpr=(*gpr[:register], value, *gpr[register + 1 :]))
    checks = recorded.check(out_crc) ^ changed.check(out_crc)
    found = explanations(changed, checks, [("then", recorded)])
    wanted = Difference(GPR_NAMES[register], gpr[register], value)
    assert value == gpr[register] or wanted in [each.difference for each in found]
