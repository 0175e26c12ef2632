"""What extract_log.py's commands show and write."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.logs.codec import GPR_NAMES, Event
from lvmm.logs.errors import NoLog
from lvmm.logs.header import enum_name
from lvmm.logs.layout import Dma, End, EndReason, EventKind, FinalState, Mode, RegionState
from lvmm.logs.output import write_atomically
from lvmm.logs.recording import CONSOLE_NAME, LOG_NAME, Recording

EXIT_COMPLETE = 0
EXIT_LOSS = 3

_DECIMAL_FIELDS = ("size", "vector", "stream", "carry", "faulted", "tsc")
_SHOWN_BYTES = 32  # of an event's data, in text


def info(recording: Recording, as_json: bool) -> int:
    """Show what the recording is of and what state it is in."""
    facts = _facts(recording)
    if as_json:
        _print_json({**facts, "header": recording.header and recording.header.as_json()})
    else:
        _print_table(_flat(facts))
        if recording.header is not None:
            header = recording.header.as_json()
            header["cpuid"] = f"{len(recording.header.cpuid)} leaves"
            header["images"] = [
                f"{image['role']} {image['size']} bytes crc32c {image['crc32c']}"
                for image in header["images"]
            ]
            header["e820"] = [
                f"{entry.base:#x}-{entry.base + entry.length:#x} type {entry.type}"
                for entry in recording.header.e820
            ]
            _print_table(_flat(header))
    return _finish(recording)


def extract(recording: Recording, output: Path) -> int:
    """Write log.lvmm and console.log into a directory, or the log alone to a .lvmm file."""
    if not recording.chunks:
        raise NoLog(f"{recording.source.name}: nothing was recorded in it")
    if output.suffix == ".lvmm" or output.is_file():
        recording.save(output)
    else:
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentProblem(f"cannot create {output}: {error.strerror}") from error
        recording.save(output / LOG_NAME)
        if recording.console is not None:
            write_atomically(output / CONSOLE_NAME, iter([recording.console]))
    _note(
        f"{output}: recording {recording.recording_id:016x}, {recording.event_count} events,"
        f" {recording.log_bytes} bytes"
    )
    return _finish(recording)


def verify(recording: Recording, as_json: bool) -> int:
    """Read every event, and say whether all are there."""
    count = 0
    position = (0, 0)
    end = None
    for event in recording.events():
        count += 1
        position = (event.branches, event.rip)
        end = event.payload if isinstance(event.payload, End) else None
    facts = _facts(recording)
    facts["events"] = count
    facts["ended"] = enum_name(EndReason, end.reason) if end else None
    facts["last_branches"] = position[0]
    facts["last_rip"] = f"{position[1]:#x}"
    if as_json:
        _print_json(facts)
    else:
        _print_table(_flat(facts))
    if end is None:
        _note("no END event: the recording was cut short")
    return _finish(recording)


def dump(
    recording: Recording,
    as_json: bool,
    kinds: str | None,
    last: int | None,
    span: tuple[int, int] | None,
) -> int:
    """Print events, one a line; `span` is the first and the last index."""
    events: Iterator[Event] = recording.events()
    if kinds is not None:
        wanted = _kinds(kinds)
        events = (event for event in events if event.kind in wanted)
    if span is not None:
        events = (event for event in events if span[0] <= event.index <= span[1])
    for event in deque(events, maxlen=last) if last is not None else events:
        print(json.dumps(event_json(event)) if as_json else event_line(event))
    return _finish(recording)


def console(recording: Recording) -> int:
    """Write the guest's console output to stdout, as it is."""
    if recording.console is None:
        raise NoLog(f"{recording.source.name}: holds no console output, only a log")
    sys.stdout.buffer.write(recording.console)
    sys.stdout.buffer.flush()
    if recording.region is not None and recording.region.console_lost:
        _note(f"the ring holds no more: the first {recording.region.console_lost} bytes")
    return EXIT_COMPLETE


def stats(recording: Recording, as_json: bool) -> int:
    """Count events and bytes by kind."""
    facts = statistics(recording)
    if as_json:
        _print_json(facts)
        return _finish(recording)
    rows = [("kind", "events", "bytes", "bytes/event")]
    for kind, count in sorted(facts["events"].items(), key=lambda item: -facts["bytes"][item[0]]):
        size = facts["bytes"][kind]
        rows.append((kind, str(count), str(size), f"{size / count:.1f}"))
    for row in rows:
        print(f"{row[0]:<14} {row[1]:>12} {row[2]:>14} {row[3]:>12}")
    print()
    _print_table([(name, facts[name]) for name in facts if name not in ("events", "bytes")])
    return _finish(recording)


def statistics(recording: Recording) -> dict[str, Any]:
    """Events and encoded bytes by kind, and totals."""
    events: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    streams: Counter[str] = Counter()
    first = last = None
    for event in recording.events():
        events[event.name] += 1
        sizes[event.name] += event.size
        if isinstance(event.payload, Dma):
            streams[str(event.payload.stream)] += event.payload.data_len
        first = event if first is None else first
        last = event
    return {
        "events": dict(events),
        "bytes": dict(sizes),
        "events_total": sum(events.values()),
        "log_bytes": recording.log_bytes,
        "chunks": len(recording.chunks),
        "first_branches": first.branches if first else 0,
        "last_branches": last.branches if last else 0,
        "dma_bytes": sum(streams.values()),
        "dma_bytes_by_stream": dict(streams),
    }


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
    if isinstance(event.payload, End):
        facts["reason"] = enum_name(EndReason, event.payload.reason)
        facts["state"] = _state_json(FinalState.unpack(event.payload.state))
        return facts
    for name, value in _payload_fields(event):
        facts[name] = value.hex() if isinstance(value, bytes) else _number(name, value)
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
    mark = "=" if event.same_position else "a" if event.asynchronous else " "
    position = f"{event.index:>9} {event.branches:>14} {event.rip:016x} {mark}"
    return f"{position} {event.name:<13} {' '.join(parts)}".rstrip()


def parse_span(text: str) -> tuple[int, int]:
    """Read `A-B`, `A-` or `A` as first and last index; raises UsageError."""
    first, dash, last = text.partition("-")
    try:
        low = int(first)
        high = int(last) if last else (1 << 64 if dash else low)
    except ValueError:
        raise UsageError(f"--events {text}: give A-B, A- or A") from None
    return low, high


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


def _kinds(text: str) -> set[EventKind]:
    wanted = set()
    for name in text.split(","):
        try:
            wanted.add(EventKind[name.strip().upper()])
        except KeyError:
            known = ", ".join(kind.name for kind in EventKind)
            raise UsageError(f"--type {name}: no such kind of event; there are {known}") from None
    return wanted


def _facts(recording: Recording) -> dict[str, Any]:
    """What is known without reading all events."""
    end = recording.end()
    facts: dict[str, Any] = {
        "recording_id": f"{recording.recording_id:016x}",
        "complete": not recording.losses,
        "ended": enum_name(EndReason, end.payload.reason)
        if end and isinstance(end.payload, End)
        else None,
        "log_bytes": recording.log_bytes,
        "chunks": len(recording.chunks),
        "events": recording.event_count,
        "losses": [dataclasses.asdict(loss) for loss in recording.losses],
    }
    if recording.region is not None:
        header = recording.region.header
        facts["region"] = {
            "base": f"{recording.region.base:#x}",
            "size": header.region_size,
            "state": enum_name(RegionState, header.state),
            "mode": enum_name(Mode, header.mode),
            "open_events": recording.open_events,
            "console_bytes": header.console_head,
            "console_lost": recording.region.console_lost,
        }
    return facts


def _finish(recording: Recording) -> int:
    """Say on stderr what was lost; the exit code."""
    for loss in islice(recording.losses, 10):
        _note(str(loss))
    if len(recording.losses) > 10:
        _note(f"{len(recording.losses) - 10} more losses")
    if recording.header is None and recording.chunks:
        _note("the recording header is lost")
        return EXIT_LOSS
    return EXIT_LOSS if recording.losses else EXIT_COMPLETE


def _note(text: str) -> None:
    print(f"extract_log: {text}", file=sys.stderr)


def _print_json(facts: dict[str, Any]) -> None:
    json.dump(facts, sys.stdout, indent=2)
    print()


def _flat(facts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value pairs of nested values; a list gives a line for each entry."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from ((prefix + name, entry) for entry in value if isinstance(entry, str))
        else:
            yield prefix + name, value


def _print_table(rows: Iterable[tuple[str, Any]]) -> None:
    for name, value in rows:
        print(f"{name:<22} {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
