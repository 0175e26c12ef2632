"""Explains how a run crashed: a triple fault, the guest's panic, the watchdog, the monitor's error.

The registers are those of the recording's END event. The memory at the end is there only while the
machine is: record() looks into it then, and the report stays in the recording. What cannot be had
shortens the report and is said in its notes. lvmm.crash_report shows it to people.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmm import recording_dir
from lvmm.backtrace import Backtrace, Stack
from lvmm.disassembly import Disassembler, Listing
from lvmm.guest import Kind
from lvmm.guest_names import GuestNames
from lvmm.guest_view import AddressSpace, CodeView, Physical, paging_mode
from lvmm.logs import Event, Recording, Registers
from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, FinalState, Mark, SegmentIndex
from lvmm.recorded_context import NO_CONTEXT, Context, read_context, task_text
from lvmm.report_facts import (
    code_facts,
    event_facts,
    guest_names,
    hexadecimal,
    open_memory,
    place_facts,
    register_facts,
)

CRASH = "crash.json"  # in a recording: the report, by the memory as it was at the end
EVENTS_SHOWN = 10

_WORDS = {
    EndReason.TRIPLE_FAULT: "the CPU shut down by a triple fault: it could deliver neither an "
    "exception nor the double fault that this became",
    EndReason.MONITOR_ERROR: "the guest did what the monitor cannot go on with",
    EndReason.GUEST_PANIC: "the guest panicked",
    EndReason.WATCHDOG: "the guest hung: interrupts were disabled, and it used no device",
}

_EFER_LMA = 1 << 10
_LONG = 1 << 13  # of a segment's attributes
_BIG = 1 << 14
_CODE_BYTES = 15
_DOUBLE_FAULT = 8


@dataclass(frozen=True)
class CrashedGuest:
    """What crashed: the guest's kind, its kernel, and what the monitor said of its errors."""

    kind: Kind
    kernel: Path | None
    errors: Sequence[str] = ()


def explain_crash(
    directory: Path, guest: CrashedGuest, ram: Path | None = None
) -> dict[str, Any] | None:
    """The report as JSON values; None when the recorded run ended without a crash.

    `directory` has the log, complete or partial; `ram` is the machine's memory as it stopped,
    offset = physical address. Raises LvmmError when the log cannot be read.
    """
    with Recording.open(directory / recording_dir.LOG) as recording:
        end = recording.end()
        if end is None or not isinstance(end.payload, End):
            return None
        if end.payload.reason not in _WORDS:
            return None
        context = read_context(recording, end.index, EVENTS_SHOWN)
    state = FinalState.unpack(end.payload.state)
    return _explain(EndReason(end.payload.reason), state, guest, ram, context)


def explain_state(
    reason: EndReason, state: FinalState, guest: CrashedGuest, ram: Path, panic: str | None
) -> dict[str, Any] | None:
    """The same of a run without a recording; `panic` is the text of a guest that panicked."""
    if reason not in _WORDS:
        return None
    facts = _explain(reason, state, guest, ram, NO_CONTEXT)
    return {**facts, "branches": None, "panic": panic}


def _explain(
    reason: EndReason, state: FinalState, guest: CrashedGuest, ram: Path | None, context: Context
) -> dict[str, Any]:
    notes: list[str] = []
    with contextlib.ExitStack() as open_files:
        memory = None
        if ram is None:
            notes.append("the memory at the end was not kept: neither code nor calls can be shown")
        else:
            memory = open_memory(ram, "the memory at the end", open_files, notes)
        names = guest_names(guest.kind, guest.kernel, memory, state.cr3)
        facts = _Report(reason, state, names, notes).build(guest, context, memory)
    if names.note:
        notes.append(names.note)
    return facts


def save_crash(directory: Path, report: dict[str, Any]) -> None:
    """Keeps the report in a recording."""
    (directory / CRASH).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def read_crash(directory: Path) -> dict[str, Any] | None:
    """The report of a complete recording: as it was kept, else what the log tells.

    None when the run ended without a crash. Raises LvmmError when the recording cannot be read.
    """
    manifest = recording_dir.read_manifest(directory)
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads((directory / CRASH).read_text(encoding="utf-8"))
        if isinstance(kept, dict):
            return kept
    guest = CrashedGuest(manifest.kind, recording_dir.recorded_kernel(directory, manifest))
    return explain_crash(directory, guest)


def code_view(state: FinalState, memory: Physical) -> CodeView:
    """How the code at RIP is to be read (SDM volume 3, 5.2.1)."""
    mode = paging_mode(state.cr0, state.cr4, state.efer)
    code = state.segments[SegmentIndex.CS]
    bits = 32 if code.attributes & _BIG else 16
    if state.efer & _EFER_LMA and code.attributes & _LONG:
        bits = 64
    return CodeView(AddressSpace(memory, mode, state.cr3), bits, code.base)


def _stack(state: FinalState, bits: int, *, is_linux: bool) -> Stack:
    segment = state.segments[SegmentIndex.SS]
    if bits == 64:
        return Stack.of(state.gpr, 0, (1 << 64) - 1, is_linux=is_linux)
    mask = 0xFFFF_FFFF if segment.attributes & _BIG else 0xFFFF
    return Stack.of(state.gpr, segment.base, mask, is_linux=is_linux)


class _Report:
    """Builds the report of one state."""

    def __init__(
        self, reason: EndReason, state: FinalState, names: GuestNames, notes: list[str]
    ) -> None:
        self.reason = reason
        self.state = state
        self.names = names
        self.notes = notes

    def build(
        self, guest: CrashedGuest, context: Context, memory: Physical | None
    ) -> dict[str, Any]:
        state, last = self.state, context.last
        return {
            "reason": enum_name(EndReason, self.reason),
            "why": _WORDS[self.reason],
            "panic": self._panic_text(last),
            "errors": list(guest.errors),
            "task": task_text(context.task) if context.task else None,
            "branches": state.branches,
            "place": place_facts(state.rip, self.names),
            "registers": register_facts(Registers(state.gpr, state.rip, state.rflags)),
            "system": self._system(),
            "segments": self._segments(),
            **self._from_memory(memory, is_linux=guest.kind == "linux"),
            "last_events": [event_facts(event, self.names) for event in last],
            "kernel_offset": hexadecimal(self.names.kernel_offset),
            "notes": self.notes,
        }

    def _panic_text(self, last: list[Event]) -> str | None:
        """The text of the MARK that the monitor logs before the END of a panic."""
        if self.reason != EndReason.GUEST_PANIC or not last:
            return None
        mark = last[-1].payload
        return mark.text.decode("utf-8", "replace") if isinstance(mark, Mark) else None

    def _system(self) -> dict[str, Any]:
        names = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "dr7")
        tables = ("gdtr_base", "gdtr_limit", "idtr_base", "idtr_limit")
        return {name: hexadecimal(getattr(self.state, name)) for name in (*names, *tables)}

    def _segments(self) -> list[dict[str, Any]]:
        return [
            {
                "name": index.name.lower(),
                "selector": hexadecimal(segment.selector),
                "base": hexadecimal(segment.base),
                "limit": hexadecimal(segment.limit),
                "attributes": hexadecimal(segment.attributes),
            }
            for index, segment in zip(SegmentIndex, self.state.segments, strict=True)
        ]

    def _from_memory(self, memory: Physical | None, *, is_linux: bool) -> dict[str, Any]:
        """Findings, calls and code: what needs the memory at the end."""
        rip = self.state.rip
        if memory is None:
            code = code_facts(None, None, b"", mode_known=False)
            return {"findings": [], "backtrace": [], "code": code}
        view = code_view(self.state, memory)
        bytes_at_rip = view.space.read(view.base + rip, _CODE_BYTES)
        stack = _stack(self.state, view.bits, is_linux=is_linux)
        listing = self._listing(view) if bytes_at_rip else None
        return {
            "findings": self._findings(view, stack, bytes_at_rip),
            "backtrace": [
                {"rip": hexadecimal(frame.rip), "symbol": frame.symbol, "how": frame.how}
                for frame in Backtrace(view, self.names, stack).frames(rip)
            ],
            "code": code_facts(listing, view, bytes_at_rip, mode_known=True),
        }

    def _listing(self, view: CodeView) -> Listing | None:
        try:
            disassembler = Disassembler(view.bits, self.names.symbol)
        except ImportError:
            self.notes.append("no disassembly: the Python package capstone is missing")
            return None
        return disassembler.around(view, self.state.rip, self.names.start(self.state.rip))

    def _findings(self, view: CodeView, stack: Stack, code: bytes) -> list[str]:
        """What about the state explains a crash, one sentence each."""
        state = self.state
        found = []
        if not code:
            found.append(f"no memory is mapped at RIP ({view.base + state.rip:#x})")
        word = view.bits // 8
        if len(view.space.read(stack.pointer - word, word)) < word:
            found.append(f"no memory is mapped where the stack would grow ({stack.pointer:#x})")
        if self.reason == EndReason.TRIPLE_FAULT:
            in_idt = self._idt_findings(view)
            found += in_idt
            if state.cr2 and not in_idt:
                found.append(f"the last page fault, if there was one, was at CR2 = {state.cr2:#x}")
        return found

    def _idt_findings(self, view: CodeView) -> list[str]:
        state = self.state
        entry = 16 if state.efer & _EFER_LMA else 8 if state.cr0 & 1 else 4
        if state.idtr_limit < (_DOUBLE_FAULT + 1) * entry - 1:
            return [
                f"the IDT ends before the double fault's entry: its limit is {state.idtr_limit:#x}"
            ]
        at = state.idtr_base + _DOUBLE_FAULT * entry
        gate = view.space.read(at, entry)
        if len(gate) < entry:
            return [f"no memory is mapped at the IDT's entry of the double fault ({at:#x})"]
        if entry > 4 and not gate[5] & 0x80:
            return [f"the IDT's entry of the double fault, at {at:#x}, is not present"]
        return []
