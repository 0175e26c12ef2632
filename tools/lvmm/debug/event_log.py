"""The last events of a run: of the log that it writes, or of the one that it replays."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path

from lvmm.gdb.target import TargetError
from lvmm.logs import Event, Recording
from lvmm.logs.codec import decode_chunk
from lvmm.logs.event_text import event_line
from lvmm.logs.layout import ChunkKind
from lvmm.logs.wire import WireError

MOST = 10_000


def last_events(log: Path, done: int, count: int) -> str:
    """The last `count` (MOST at most) of the first `done` events, a line each.

    `log` is a recording's directory, or the memory of the machine that records. Raises TargetError
    and LvmmError.
    """
    try:
        with Recording.open(log) as recording:
            return event_lines(_before(recording, done, min(count, MOST)))
    except WireError as error:
        raise TargetError(f"the log is damaged: {error}") from None


def event_lines(events: Iterable[Event]) -> str:
    """A line each. Raises TargetError where there is none."""
    lines = [event_line(event) for event in events]
    if not lines:
        raise TargetError("there is no event yet")
    return "\n".join(lines)


def _before(recording: Recording, done: int, count: int) -> deque[Event]:
    """Each chunk can be read without those before it."""
    found: deque[Event] = deque(maxlen=count)
    for chunk in recording.chunks:
        first, end = chunk.header.first_event, chunk.header.first_event + chunk.header.event_count
        if chunk.header.kind == ChunkKind.EVENTS and first < done and end > done - count:
            events = decode_chunk(chunk.header, chunk.payload())
            found.extend(event for event in events if event.index < done)
    return found
