"""The guest's console, line by line, with the time and the event at which each line ended."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lvmm.logs.errors import NoLog
from lvmm.logs.guest_time import GuestClock, TimedEvent
from lvmm.logs.layout import ConsoleLine
from lvmm.logs.printing import finish
from lvmm.logs.recording import Recording
from lvmm.recorded_part import recorded_part


@dataclass(frozen=True)
class Line:
    """A line without its end; `at` is None where the log does not have the end of it."""

    text: str
    at: TimedEvent | None


def console_times(recording: Recording, as_json: bool) -> int:
    """Shows the lines, one a line; returns the exit code. Raises LvmmError."""
    for line in console_lines(recording):
        print(_as_json(line) if as_json else _as_text(line))
    return finish(recording)


def line_texts(recording: Recording) -> dict[int, str]:
    """The lines without their ends, by the bytes that the guest had put out up to the end of each.

    Empty where there is no console output, only a log.
    """
    if recording.console is None:
        return {}
    if recording.region is not None:
        start = recording.region.console_lost
    else:
        start = recorded_part(recording).console_start
    texts = {}
    for part in re.findall(rb"[^\n]*\n|[^\n]+", recording.console):
        start += len(part)
        texts[start] = part.rstrip(b"\r\n").decode("utf-8", "replace")
    return texts


def console_lines(recording: Recording) -> Iterator[Line]:
    """The lines of the console output that there is. Raises NoLog when there is none."""
    if recording.console is None or recording.header is None:
        raise NoLog(f"{recording.source.name}: holds no console output, only a log")
    machine = recording.header.machine
    clock = GuestClock(machine.tsc_hz, machine.start_tsc)
    ends = {
        item.event.payload.end: item
        for item in clock.timed(recording.events())
        if isinstance(item.event.payload, ConsoleLine)
    }
    for end, text in line_texts(recording).items():
        yield Line(text, ends.get(end))


def _as_text(line: Line) -> str:
    if line.at is None:
        return f"{'':>28} {line.text}"
    return f"{line.at.seconds:>14.6f} {line.at.event.index:>13} {line.text}"


def _as_json(line: Line) -> str:
    at = line.at
    facts = {
        "seconds": round(at.seconds, 9) if at is not None else None,
        "event": at.event.index if at is not None else None,
        "branches": at.event.branches if at is not None else None,
        "rip": f"{at.event.rip:#x}" if at is not None else None,
        "text": line.text,
    }
    return json.dumps(facts)
