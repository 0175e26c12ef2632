"""Events as lines of text and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from lvmm.logs.codec import GPR_NAMES, Event
from lvmm.logs.header import enum_name
from lvmm.logs.layout import End, EndReason, EventKind, FinalState

_DECIMAL_FIELDS = ("size", "vector", "stream", "carry", "faulted", "tsc")
_SHOWN_BYTES = 32  # of an event's data, in text


def event_json(event: Event) -> dict[str, Any]:
    """An event as JSON values: addresses, registers and values as hexadecimal strings."""
    facts: dict[str, Any] = {
        "index": event.index,
        "kind": event.name,
        "branches": event.branches,
        "rip": f"{event.rip:#x}",
        "async": event.asynchronous,
        "same_position": event.same_position,
    }
    if event.check is not None:
        facts["check"] = f"{event.check:#06x}"
    if event.registers is not None:
        facts["registers"] = _registers(event)
    if event.place is not None:
        facts["place"] = {"rf": event.place.resume, "rcx": f"{event.place.rcx:#x}"}
    if isinstance(event.payload, End):
        facts["reason"] = enum_name(EndReason, event.payload.reason)
        facts["state"] = _state_json(FinalState.unpack(event.payload.state))
        return facts
    for name, value in _payload_fields(event):
        key = f"{event.name.lower()}_{name}" if name in facts else name
        facts[key] = value.hex() if isinstance(value, bytes) else _number(name, value)
    return facts


def event_line(event: Event) -> str:
    """An event as a line of text; long data is cut."""
    parts = []
    for name, value in _payload_fields(event):
        if isinstance(event.payload, End):
            value = enum_name(EndReason, event.payload.reason) if name == "reason" else "..."
        elif event.kind in (EventKind.MARK, EventKind.TASK) and isinstance(value, bytes):
            value = repr(value.decode("utf-8", "replace"))
        elif isinstance(value, bytes):
            more = "..." if len(value) > _SHOWN_BYTES else ""
            value = f"{value[:_SHOWN_BYTES].hex()}{more} ({len(value)} bytes)"
        else:
            value = _number(name, value)
        parts.append(f"{name}={value}")
    if event.registers is not None:
        parts += [f"{name}={value}" for name, value in _registers(event).items()]
    if event.place is not None:
        parts.append(f"rf={event.place.resume:d} rcx={event.place.rcx:#x}")
    mark = "=" if event.same_position else "a" if event.asynchronous else " "
    position = f"{event.index:>9} {event.branches:>14} {event.rip:016x} {mark}"
    return f"{position} {event.name:<13} {' '.join(parts)}".rstrip()


def _payload_fields(event: Event) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(event.payload):
        yield field.name, getattr(event.payload, field.name)


def _number(name: str, value: int) -> int | str:
    return value if name in _DECIMAL_FIELDS else f"{value:#x}"


def _registers(event: Event) -> dict[str, str]:
    registers = event.registers
    assert registers is not None
    named = dict(zip(GPR_NAMES, registers.gpr, strict=True))
    return {name: f"{value:#x}" for name, value in (*named.items(), ("rflags", registers.rflags))}


def _state_json(state: FinalState) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if field.name == "gpr":
            facts.update({name: f"{part:#x}" for name, part in zip(GPR_NAMES, value, strict=True)})
        elif field.name == "segments":
            facts["segments"] = [dataclasses.asdict(part) for part in value]
        elif field.name == "branches":
            facts["branches"] = value
        else:
            facts[field.name] = f"{value:#x}"
    return facts
