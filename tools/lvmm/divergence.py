"""Explains a divergence: where a replay left its recording, in what it differs, what led there.

The monitor stops at the first mismatch and prints one message (hypervisor/replay/divergence.c).
explain_divergence() puts it beside the recording, the replay's memory and the guest's symbols; the
result is JSON values. lvmm.divergence_report shows it to people. What cannot be had (symbols,
memory, the recording itself) shortens the report and is said in its notes; nothing makes it fail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lvmm import recording_dir
from lvmm.disassembly import Disassembler, Listing
from lvmm.divergence_message import Divergence, Input
from lvmm.errors import LvmmError
from lvmm.guest_names import GuestNames
from lvmm.guest_view import CodeView, find_code
from lvmm.logs import Event, Recording, Registers
from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, FinalState
from lvmm.logs.source import Source
from lvmm.recorded_context import NO_CONTEXT, Context, describe_payload, read_context
from lvmm.register_check import (
    NAMES,
    Difference,
    differences,
    explanations,
    flag_names,
)
from lvmm.report_facts import (
    code_facts,
    event_facts,
    guest_names,
    hexadecimal,
    open_memory,
    place_facts,
    register_facts,
)

EVENTS_SHOWN = 10

_STATE_NOT_PRINTED = "cr0, cr2, cr4, cr8, efer, dr7, segments, gdtr, idtr"


def explain_divergence(
    message: dict[str, Any], recording: Path, ram: Path | None = None
) -> dict[str, Any]:
    """The report as JSON values; addresses, registers and checks are hexadecimal strings.

    `message` is the monitor's, `recording` the directory, `ram` the replaying machine's memory as
    it stopped, offset = physical address.
    """
    try:
        divergence = Divergence.parse(message)
    except (KeyError, TypeError, ValueError):
        return {
            "why": str(message.get("why", "unknown")),
            "notes": ["the monitor's message is malformed: there is nothing more to tell"],
            "message": message,
        }
    notes: list[str] = []
    with contextlib.ExitStack() as open_files:
        memory = None
        if ram is None:
            notes.append("the replay's memory was not kept: code is as the monitor printed it")
        else:
            memory = open_memory(ram, "the replay's memory", open_files, notes)
        names = _names(recording, memory, divergence.cr3)
        context = _context(recording, divergence, notes)
        view = _find_code(divergence, memory, notes)
        report = _Report(divergence, context, names, view.bits if view else 64).build()
        report["code"] = _code(divergence, view, names, notes)
    if names.note:
        notes.append(names.note)
    report["notes"] = notes
    report["message"] = message
    return report


def _names(recording: Path, memory: Source | None, cr3: int) -> GuestNames:
    try:
        manifest = recording_dir.read_manifest(recording)
    except LvmmError as error:
        return GuestNames.unknown(f"no symbols: {error}")
    kernel = recording_dir.recorded_kernel(recording, manifest)
    return guest_names(manifest.kind, kernel, memory, cr3)


def _context(recording: Path, divergence: Divergence, notes: list[str]) -> Context:
    """What the recording has around the event; the event of an END is the END itself."""
    try:
        with Recording.open(recording) as opened:
            context = read_context(opened, divergence.event, EVENTS_SHOWN)
            last = context.last[-1] if context.last else None
            if divergence.expected is None and last is not None and isinstance(last.payload, End):
                # The monitor takes END out of the recording before it compares the states.
                context = read_context(opened, last.index, EVENTS_SHOWN)
    except LvmmError as error:
        notes.append(f"the recording cannot be read: {error}")
        return NO_CONTEXT
    found, wanted = context.expected, divergence.expected
    if wanted is not None and (
        found is None
        or (found.name, found.branches, found.rip)
        != (wanted.kind, divergence.expected_branches, divergence.expected_rip)
    ):
        notes.append(
            f"event {divergence.event} is another one in {recording}: not the recording that was "
            "replayed, so its events are left out"
        )
        return NO_CONTEXT
    return context


def _is_wide(divergence: Divergence) -> bool:
    """Whether a value shows that the CPU is in 64-bit mode."""
    return any(value >> 32 for value in (*divergence.registers.gpr, divergence.registers.rip))


def _find_code(divergence: Divergence, memory: Source | None, notes: list[str]) -> CodeView | None:
    if memory is None:
        return None
    rip = divergence.registers.rip
    view = find_code(memory, divergence.cr3, rip, divergence.code, _is_wide(divergence))
    if view is None:
        notes.append("RIP's code is not found in the replay's memory: only what the monitor read")
    return view


def _code(
    divergence: Divergence, view: CodeView | None, names: GuestNames, notes: list[str]
) -> dict[str, Any]:
    """The instructions around RIP."""
    wide = _is_wide(divergence)
    listing = None
    try:
        listing = _listing(divergence, view, names, wide)
    except ImportError:
        notes.append("no disassembly: the Python package capstone is missing")
    return code_facts(listing, view, divergence.code, mode_known=view is not None or wide)


def _listing(
    divergence: Divergence, view: CodeView | None, names: GuestNames, wide: bool
) -> Listing:
    rip = divergence.registers.rip
    if view is None:
        return Disassembler(64 if wide else 32, names.symbol).from_bytes(divergence.code, rip)
    return Disassembler(view.bits, names.symbol).around(view, rip, names.start(rip))


class _Report:
    """Builds the parts of the report that need divergence, context and names together."""

    def __init__(
        self, divergence: Divergence, context: Context, names: GuestNames, bits: int
    ) -> None:
        self.divergence = divergence
        self.bits = bits
        self.context = context
        self.names = names
        self.last = context.last[-1] if context.last else None
        self.event = context.expected

    def build(self) -> dict[str, Any]:
        divergence = self.divergence
        registers = self._registers()
        number = self.event.index if self.event is not None else divergence.event
        return {
            "why": divergence.why,
            "event": number,
            "kind": self._kind(),
            "recorded": self._recorded(),
            "replayed": self._replayed(),
            "same_position": divergence.same_position,
            "last_good": self._event(self.last) if self.last is not None else None,
            "branches_after_last_good": (
                divergence.branches - self.last.branches if self.last is not None else None
            ),
            "findings": list(self._findings(registers)),
            "registers": registers,
            "last_events": [self._event(event) for event in self.context.last],
            "earlier_events": [self._event(event) for event in self.context.earlier],
            "kernel_offset": hexadecimal(self.names.kernel_offset),
        }

    def _kind(self) -> str | None:
        if self.event is not None:
            return self.event.name
        return self.divergence.expected.kind if self.divergence.expected else None

    def _recorded(self) -> dict[str, Any] | None:
        if self.event is not None:
            return self._event(self.event)
        divergence = self.divergence
        if divergence.expected is None:
            return None
        return {
            "index": divergence.event,
            "kind": divergence.expected.kind,
            "about": str(divergence.expected),
            "branches": divergence.expected_branches,
            **self._place(divergence.expected_rip),
            "async": divergence.expected_async,
            "check": hexadecimal(divergence.recorded_check),
        }

    def _replayed(self) -> dict[str, Any]:
        divergence = self.divergence
        return {
            "kind": divergence.actual.kind if divergence.actual else None,
            "about": str(divergence.actual) if divergence.actual else None,
            "branches": divergence.branches,
            **self._place(divergence.registers.rip),
            "check": hexadecimal(divergence.check),
            "cr3": hexadecimal(divergence.cr3),
            "registers": register_facts(divergence.registers),
        }

    def _place(self, rip: int) -> dict[str, Any]:
        return place_facts(rip, self.names)

    def _event(self, event: Event) -> dict[str, Any]:
        return event_facts(event, self.names)

    # --- registers -------------------------------------------------------------------------

    def _registers(self) -> dict[str, Any]:
        divergence = self.divergence
        recorded = divergence.expected_registers
        if recorded is None and self.event is not None:
            recorded = self.event.registers
        at_end = divergence.expected is None and self.event is not None
        checks = divergence.check, divergence.recorded_check
        facts: dict[str, Any] = {
            "stored": recorded is not None,
            "same_position": divergence.same_position or at_end,
            "check_differs": checks[0] != checks[1] if None not in checks else None,
            "differing": [],
        }
        if recorded is not None:
            found = differences(recorded, divergence.registers)
            facts["differing"] = [_difference(each) for each in found]
            facts["equal"] = _all_but(found)
        elif self.context.snapshot is not None:
            facts["last_snapshot"] = self._compared(self.context.snapshot)
            if self.context.site_snapshot not in (None, self.context.snapshot):
                facts["site_snapshot"] = self._compared(self.context.site_snapshot)
        if recorded is None and divergence.same_position and facts["check_differs"]:
            facts["explanations"] = self._explanations()
        return facts

    def _compared(self, snapshot: Event | None) -> dict[str, Any]:
        assert snapshot is not None and snapshot.registers is not None
        found = differences(snapshot.registers, self.divergence.registers)
        return {
            "event": snapshot.index,
            "branches": snapshot.branches,
            **self._place(snapshot.rip),
            "changed": [
                {
                    "name": each.name,
                    "then": hexadecimal(each.recorded),
                    "now": hexadecimal(each.replayed),
                }
                for each in found
            ],
            "unchanged": _all_but(found),
        }

    def _explanations(self) -> list[dict[str, Any]]:
        divergence = self.divergence
        assert divergence.check is not None and divergence.recorded_check is not None
        snapshots = [
            (f"event {event.index}", event.registers)
            for event in (self.context.site_snapshot, self.context.snapshot)
            if event is not None and event.registers is not None
        ]
        checks = divergence.check ^ divergence.recorded_check
        found = explanations(divergence.registers, checks, snapshots, self.bits)
        return [{**_difference(each.difference), "why": each.why} for each in found]

    # --- findings --------------------------------------------------------------------------

    def _findings(self, registers: dict[str, Any]) -> Iterator[str]:
        """What the facts mean, one sentence each."""
        divergence = self.divergence
        if divergence.expected is None:
            yield from self._at_the_end()
        else:
            yield from self._inputs(divergence.expected, divergence.actual)
            yield from self._positions()
            if divergence.same_position:
                yield from self._same_place(registers)
        yield from self._found_elsewhere()

    def _at_the_end(self) -> Iterator[str]:
        divergence = self.divergence
        if self.event is None or not isinstance(self.event.payload, End):
            yield f"the recording has no event {divergence.event}: it was over, or damaged there"
            return
        reason = divergence.actual.reason if divergence.actual else None
        if reason is not None and reason != self.event.payload.reason:
            yield (
                f"recorded end: {enum_name(EndReason, self.event.payload.reason)}, "
                f"replayed: {enum_name(EndReason, reason)}"
            )
        state = FinalState.unpack(self.event.payload.state)
        recorded = Registers(state.gpr, state.rip, state.rflags)
        found = [
            *differences(recorded, divergence.registers),
            *(
                Difference(name, then, now)
                for name, then, now in (
                    ("rip", state.rip, divergence.registers.rip),
                    ("cr3", state.cr3, divergence.cr3),
                )
                if then != now
            ),
        ]
        for each in found:
            yield (f"final {each.name}: recorded {each.recorded:#x}, replayed {each.replayed:#x}")
        if state.branches != divergence.branches:
            yield f"branches at the end: recorded {state.branches}, replayed {divergence.branches}"
        elif not found and "state" in divergence.why:
            yield (
                "the general registers, RIP, RFLAGS and CR3 are equal: what differs is in the part "
                f"of the final state that the monitor does not print ({_STATE_NOT_PRINTED})"
            )

    def _inputs(self, expected: Input, actual: Input | None) -> Iterator[str]:
        divergence = self.divergence
        if actual is None:
            if divergence.expected_async:
                yield f"the replay was on its way to an asynchronous event ({expected})"
        elif divergence.expected_async:
            yield (
                f"the guest asked for {actual}, but the recording has {expected} first, "
                "between two instructions"
            )
        elif actual.kind != expected.kind:
            yield f"the guest asked for {actual}, the recording has {expected}"
        else:
            for name in ("address", "size"):
                then, now = getattr(expected, name), getattr(actual, name)
                if then != now:
                    yield f"{name} of the {actual.kind}: recorded {then:#x}, replayed {now:#x}"

    def _positions(self) -> Iterator[str]:
        divergence = self.divergence
        since = f" since event {self.last.index}" if self.last is not None else ""
        ahead = divergence.branches - divergence.expected_branches
        place = self._name(divergence.expected_rip)
        distance = f"{abs(ahead)} conditional branch{'' if abs(ahead) == 1 else 'es'}"
        if ahead and divergence.expected_async:
            where = "before" if ahead < 0 else "past"
            yield f"the replay is {distance} {where} that event's position ({place})"
        elif ahead > 0:
            yield (
                f"the replay comes to an input {distance} later than the recording: it took "
                f"another path{since}, or did not ask where it should have"
            )
        elif ahead:
            yield (
                f"the replay comes to an input {distance} earlier than the recording: it took "
                f"another path{since}, or the recording lacks an event"
            )
        elif divergence.registers.rip != divergence.expected_rip:
            yield (
                f"the same number of branches, but the replay is at "
                f"{self._name(divergence.registers.rip)} and the event is at {place}"
            )

    def _same_place(self, registers: dict[str, Any]) -> Iterator[str]:
        if registers["stored"]:
            changed = [each["name"] for each in registers["differing"]]
            if changed:
                yield f"the position is right, but these registers differ: {', '.join(changed)}"
            elif registers["check_differs"]:
                yield (
                    "position and registers are right, but the check differs: the guest's output "
                    "before this (port and memory-mapped writes) was another one"
                )
        elif registers["check_differs"]:
            yield (
                "the position is right, but the 16-bit check of registers and output differs; "
                "this event stores no registers, so which of them differ is not recorded"
            )

    def _found_elsewhere(self) -> Iterator[str]:
        """Whether the replay is where another event was recorded."""
        position = (self.divergence.branches, self.divergence.registers.rip)
        if self.divergence.same_position:
            return
        for event in (*self.context.last, *self.context.following):
            if (event.branches, event.rip) == position and not event.asynchronous:
                about = f"{event.name} {describe_payload(event.payload)}".strip()
                yield f"the replay is at the position of event {event.index} ({about})"
                return

    def _name(self, address: int) -> str:
        symbol = self.names.describe(address)
        return f"{address:#x} {symbol}" if symbol else f"{address:#x}"


def _difference(difference: Difference) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": difference.name,
        "recorded": hexadecimal(difference.recorded),
        "replayed": hexadecimal(difference.replayed),
    }
    if difference.name == "rflags":
        facts["flags"] = flag_names(difference)
    return facts


def _all_but(found: list[Difference]) -> list[str]:
    names = {each.name for each in found}
    return [name for name in NAMES if name not in names]
