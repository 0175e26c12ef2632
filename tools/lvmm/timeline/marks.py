"""What a timeline shows: the events of a recording in lanes, over guest time."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lvmm.logs.codec import Event
from lvmm.logs.guest_time import TimedEvent
from lvmm.logs.layout import NOTES, Begin, ConsoleLine, CpuState, Dma, EventKind, Interrupt, Nmi
from lvmm.timeline.idle import IdleSites

# What the guest did not leave to the monitor for: the state that a recording begins and ends with.
_NO_EXITS = NOTES | {EventKind.BEGIN, EventKind.RAM_PAGE, EventKind.CONTENT, EventKind.END}


class Lane(enum.Enum):
    """The lanes, in the order in which they are shown."""

    EXITS = "exits"
    INTERRUPTS = "interrupts"
    DMA = "DMA"
    CONSOLE = "console"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class TimelineMark:
    """Something at `seconds` of guest time, called `name` within its lane.

    `amount` is its weight: bytes in DMA and console, seconds in idle (which end at `seconds`), else
    1. `label` is its own name, where it has one.
    """

    lane: Lane
    name: str
    seconds: float
    amount: float
    event: Event
    label: str = ""


class MarkMaker:
    """Makes the marks of a recording's events.

    `streams` are names of DMA streams; `lines` the console's, by the number of bytes up to the end
    of each.
    """

    def __init__(self, streams: Mapping[int, str], lines: Mapping[int, str]) -> None:
        self._streams = streams
        self._lines = lines
        self._idle = IdleSites()
        self._console = 0  # bytes put out so far

    def marks(self, timed: Iterable[TimedEvent]) -> Iterator[TimelineMark]:
        """The marks, in the order of the events."""
        for item in timed:
            event = item.event
            if item.waited and self._idle.is_idle(event.rip, item.waited):
                yield TimelineMark(Lane.IDLE, "HLT", item.seconds, item.waited, event)
            elif event.asynchronous and not event.same_position:
                self._idle.woken(event.rip)
            mark = self._mark(item)
            if mark is not None:
                yield mark

    def _mark(self, item: TimedEvent) -> TimelineMark | None:
        event, seconds = item.event, item.seconds
        match event.payload:
            case Interrupt(vector=vector):
                return TimelineMark(Lane.INTERRUPTS, f"vector {vector:#x}", seconds, 1, event)
            case Nmi():
                return TimelineMark(Lane.INTERRUPTS, "NMI", seconds, 1, event)
            case Dma(stream=stream) as dma:
                name = self._streams.get(stream, f"stream {stream}")
                return TimelineMark(Lane.DMA, name, seconds, dma.data_len, event)
            case ConsoleLine(end=end):
                size, self._console = max(end - self._console, 0), end
                label = self._lines.get(end, "")
                return TimelineMark(Lane.CONSOLE, "output", seconds, size, event, label)
            case Begin(state=state) if len(state) >= CpuState.STRUCT.size:
                self._console = CpuState.unpack(state).console_bytes
        if event.kind in _NO_EXITS:
            return None
        return TimelineMark(Lane.EXITS, event.name, seconds, 1, event)
