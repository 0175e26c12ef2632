"""The report of a crash, by made-up recordings and memory."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.host.log_driver import HEADER, RECORDING_ID
from tests.host.recordings import make_recording

from lvmm.crash import CrashedGuest, explain_crash, read_crash, save_crash
from lvmm.crash_report import render_crash
from lvmm.logs import layout as log
from lvmm.logs.codec import Event, Registers
from lvmm.logs.writer import LogWriter

pytestmark = pytest.mark.host

CODE = 0x2000
STACK = 0x8000
IDT = 0x9000
TEXT = b'no "cookies"\n'
FLAT_CODE = log.Segment(0, 0xFFFF_FFFF, 0xC09B, 8, 0)
FLAT_DATA = log.Segment(0, 0xFFFF_FFFF, 0xC093, 16, 0)

STATE = log.FinalState(
    gpr=(0x4D4D_564C, 1, 2, 3, STACK, 0, *range(6, 16)),
    rip=CODE,
    rflags=0x46,
    cr0=0x11,
    cr2=0xDEAD_0000,
    cr3=0,
    cr4=0,
    cr8=0,
    efer=0,
    dr7=0x400,
    branches=500,
    segments=(FLAT_DATA, FLAT_CODE, *(FLAT_DATA,) * 6),
    gdtr_base=0x7000,
    idtr_base=IDT,
    gdtr_limit=0x17,
    idtr_limit=0x7FF,
)


def event(payload: log.Payload, branches: int) -> Event:
    registers = Registers(STATE.gpr, STATE.rip, STATE.rflags)
    return Event(payload, branches, CODE, check=registers.check(0))


def crashed(
    folder: Path, reason: int, state: log.FinalState = STATE, mark: bytes | None = None
) -> Path:
    """A recording directory that ends so, after 20 reads of a port."""
    directory = folder / "recording"
    make_recording(directory)
    writer = LogWriter(RECORDING_ID, HEADER)
    for number in range(20):
        writer.write(event(log.In(0x3FD, 1, 0x60), number))
    if mark is not None:
        writer.write(event(log.Mark(mark), state.branches))
    writer.write(
        dataclasses.replace(
            event(log.End(reason, state.pack()), state.branches),
            registers=Registers(state.gpr, state.rip, state.rflags),
        )
    )
    writer.flush()
    (directory / "log.lvmm").write_bytes(writer.data)
    return directory


@pytest.fixture
def ram(tmp_path: Path) -> Path:
    """64 KiB: VMCALL at CODE, a call that ends at CODE + 0x15, its return address on the stack."""
    data = bytearray(0x10000)
    data[CODE : CODE + 4] = b"\x0f\x01\xc1\xc3"
    data[CODE + 0x10] = 0xE8
    data[STACK + 4 : STACK + 8] = (CODE + 0x15).to_bytes(4, "little")
    data[IDT : IDT + 0x800] = b"\x00\x20\x08\x00\x00\x8e\x00\x00" * 256
    path = tmp_path / "ram.img"
    path.write_bytes(data)
    return path


def explain(directory: Path, ram: Path | None) -> tuple[dict[str, Any], str]:
    guest = CrashedGuest("sector", directory / "guest" / "guest.elf", ("told by the monitor",))
    report = explain_crash(directory, guest, ram)
    assert report is not None
    assert json.loads(json.dumps(report)) == report
    return report, render_crash(report)


@pytest.mark.parametrize("reason", list(log.EndReason))
def test_only_crashes_are_explained(tmp_path: Path, ram: Path, reason: log.EndReason) -> None:
    directory = crashed(tmp_path, reason)
    report = explain_crash(directory, CrashedGuest("sector", directory), ram)
    crashes = ("TRIPLE_FAULT", "MONITOR_ERROR", "GUEST_PANIC", "WATCHDOG")
    assert (report is not None) == (reason.name in crashes)


def test_panic(tmp_path: Path, ram: Path) -> None:
    report, text = explain(crashed(tmp_path, log.EndReason.GUEST_PANIC, mark=TEXT), ram)
    assert report["panic"] == TEXT.decode()
    assert report["registers"]["rax"] == "0x4d4d564c"
    assert report["system"]["cr2"] == "0xdead0000"
    assert report["segments"][1] == {
        "name": "cs",
        "selector": "0x8",
        "base": "0x0",
        "limit": "0xffffffff",
        "attributes": "0xc09b",
    }
    assert [frame["rip"] for frame in report["backtrace"]] == [hex(CODE), hex(CODE + 0x15)]
    assert [event["index"] for event in report["last_events"]] == list(range(11, 21))
    current = [line for line in report["code"]["instructions"] if line["current"]]
    assert [line["text"] for line in current] == ["vmcall"]
    assert report["findings"] == []
    for expected in (
        *("CRASH (guest panic): the guest panicked", 'panic: no "cookies"\n'),
        *("at 0x2000, after 500 branches", "=>", "vmcall", "told by the monitor"),
        *("#1  0x2015", "no symbols: a boot sector has none", "idtr   base 0x9000, limit 0x7ff"),
    ):
        assert expected in text


def test_panic_whose_mark_is_lost(tmp_path: Path, ram: Path) -> None:
    report, _ = explain(crashed(tmp_path, log.EndReason.GUEST_PANIC), ram)
    assert report["panic"] is None


TRIPLE: dict[str, tuple[dict[str, int], str]] = {
    "short IDT": ({"idtr_limit": 0x20}, "the IDT ends before the double fault's entry"),
    "IDT beyond memory": ({"idtr_base": 0x7000_0000}, "no memory is mapped at the IDT's entry"),
    "gate not present": ({"idtr_base": 0x4000}, "is not present"),
    "page fault": ({}, "was at CR2 = 0xdead0000"),
    "RIP beyond memory": ({"rip": 0x7000_0000}, "no memory is mapped at RIP (0x70000000)"),
    "64-bit IDT": ({"idtr_limit": 0x8F - 1, "efer": 0x500}, "its limit is 0x8e"),
}


@pytest.mark.parametrize("name", sorted(TRIPLE))
def test_triple_fault(tmp_path: Path, ram: Path, name: str) -> None:
    changes, expected = TRIPLE[name]
    state = dataclasses.replace(STATE, **changes)
    report, text = explain(crashed(tmp_path, log.EndReason.TRIPLE_FAULT, state), ram)
    assert any(expected in finding for finding in report["findings"])
    assert expected in " ".join(text.split())


def test_stack_that_is_not_there(tmp_path: Path, ram: Path) -> None:
    gpr = (*STATE.gpr[:4], 0x7000_0000, *STATE.gpr[5:])
    state = dataclasses.replace(STATE, gpr=gpr)
    report, _ = explain(crashed(tmp_path, log.EndReason.WATCHDOG, state), ram)
    assert report["findings"] == [
        "no memory is mapped where the stack would grow (0x70000000)",
    ]
    assert len(report["backtrace"]) == 1


def test_page_tables_that_are_not_there(tmp_path: Path, ram: Path) -> None:
    state = dataclasses.replace(STATE, cr0=0x8000_0011, cr3=0x7000_0000)
    report, text = explain(crashed(tmp_path, log.EndReason.TRIPLE_FAULT, state), ram)
    assert "no memory is mapped at RIP (0x2000)" in report["findings"]
    assert report["code"]["paging"] == "32"
    assert "no code is mapped at RIP" in text


def test_without_memory(tmp_path: Path) -> None:
    report, text = explain(crashed(tmp_path, log.EndReason.GUEST_PANIC, mark=TEXT), None)
    assert report["panic"] == TEXT.decode()
    assert report["backtrace"] == []
    assert "the memory at the end was not kept" in text
    assert "vmcall" not in text


def test_memory_that_cannot_be_read(tmp_path: Path) -> None:
    directory = crashed(tmp_path, log.EndReason.WATCHDOG)
    report, _ = explain(directory, tmp_path / "none")
    assert any("the memory at the end cannot be read" in note for note in report["notes"])


def test_kept_report_is_shown_again(tmp_path: Path, ram: Path) -> None:
    directory = crashed(tmp_path, log.EndReason.GUEST_PANIC, mark=TEXT)
    report, _ = explain(directory, ram)
    again = read_crash(directory)
    assert again is not None
    assert again["panic"] == report["panic"]
    assert again["backtrace"] == []
    save_crash(directory, report)
    assert read_crash(directory) == report
    (directory / "crash.json").write_text("{")
    assert read_crash(directory) == again


def test_recording_without_an_end(tmp_path: Path, ram: Path) -> None:
    directory = tmp_path / "recording"
    make_recording(directory)
    writer = LogWriter(RECORDING_ID, HEADER)
    writer.write(event(log.In(0x3FD, 1, 0x60), 1))
    writer.flush()
    (directory / "log.lvmm").write_bytes(writer.data)
    assert explain_crash(directory, CrashedGuest("sector", directory), ram) is None
