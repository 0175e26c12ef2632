"""Puts the monitor's message beside the recording, the replay's memory and the guest's symbols."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lvmm import recording_dir
from lvmm.disassembly import Disassembler, Listing
from lvmm.divergence.message import Divergence
from lvmm.divergence.report import report_facts
from lvmm.divergence.scene import Scene
from lvmm.errors import LvmmError
from lvmm.guest_names import GuestNames
from lvmm.guest_view import CodeView, find_code
from lvmm.logs import Recording
from lvmm.logs.layout import End
from lvmm.logs.source import Source
from lvmm.recorded_context import NO_CONTEXT, Context, read_context
from lvmm.report_facts import code_facts, guest_names, open_memory

EVENTS_SHOWN = 10


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
        report = report_facts(Scene(divergence, context, names, view.bits if view else 64))
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
