"""The facts of which reports about a guest consist, as JSON values: numbers are hexadecimal."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from lvmm.disassembly import Listing
from lvmm.errors import LvmmError
from lvmm.guest import Kind
from lvmm.guest_names import KERNEL_ON_DISK, GuestNames
from lvmm.guest_view import CodeView, Physical
from lvmm.logs import Event, Registers
from lvmm.logs.source import Source
from lvmm.recorded_context import describe_payload
from lvmm.register_check import NAMES, values


def hexadecimal(value: int | None) -> str | None:
    """The number, or None for None."""
    return None if value is None else f"{value:#x}"


def guest_names(kind: Kind, kernel: Path | None, memory: Physical | None, cr3: int) -> GuestNames:
    """Names for the addresses of a guest of this kind; `memory` is that in which it ran."""
    if kernel is None:
        return GuestNames.unknown(KERNEL_ON_DISK)
    if kind == "linux":
        return GuestNames.for_linux(kernel, memory, cr3)
    if kind == "sector":
        return GuestNames.unknown("no symbols: a boot sector has none")
    return GuestNames.for_multiboot(kernel)


def place_facts(rip: int, names: GuestNames) -> dict[str, Any]:
    """An address of code, and its name."""
    return {"rip": hexadecimal(rip), "symbol": names.describe(rip)}


def register_facts(registers: Registers) -> dict[str, str]:
    """The general registers and RFLAGS by name."""
    pairs = zip(NAMES, values(registers), strict=True)
    return {name: f"{value:#x}" for name, value in pairs}


def event_facts(event: Event, names: GuestNames) -> dict[str, Any]:
    """An event with its position."""
    facts: dict[str, Any] = {
        "index": event.index,
        "kind": event.name,
        "about": describe_payload(event.payload),
        "branches": event.branches,
        **place_facts(event.rip, names),
        "async": event.asynchronous,
        "same_position": event.same_position,
        "check": hexadecimal(event.check),
    }
    if event.registers is not None:
        facts["registers"] = register_facts(event.registers)
    return facts


def code_facts(
    listing: Listing | None, view: CodeView | None, code: bytes, *, mode_known: bool
) -> dict[str, Any]:
    """The instructions around RIP, at which the bytes `code` are."""
    return {
        "bits": listing.bits if listing else None,
        "mode_known": mode_known,
        "paging": view.space.mode.value if view else None,
        "base": hexadecimal(view.base) if view else None,
        "boundaries_sure": listing.sure if listing else None,
        "bytes_at_rip": code.hex(),
        "instructions": [
            {
                "address": hexadecimal(line.address),
                "bytes": line.code.hex(),
                "text": line.text,
                "target": line.target,
                "current": line.current,
            }
            for line in (listing.lines if listing else [])
        ],
    }


def open_memory(
    ram: Path, what: str, open_files: contextlib.ExitStack, notes: list[str]
) -> Source | None:
    """The image of memory, closed with `open_files`; where it cannot be read a note says so."""
    try:
        memory = Source(str(ram))
    except LvmmError as error:
        notes.append(f"{what} cannot be read: {error}")
        return None
    open_files.callback(memory.close)
    return memory
