"""Guest time and events at the positions of a replay that goes forward."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvmm.logs import Event
from lvmm.logs.guest_time import TimedEvent
from lvmm.logs.layout import Dma, Task


@dataclass(frozen=True)
class Moment:
    """A position: `events` were replayed before it. `seconds` of guest time are None in a recording
    without events; `dma` is what a device wrote right there; `task` is the last that the guest has
    named.
    """

    events: int
    branches: int
    rip: int
    seconds: float | None
    dma: tuple[Dma, ...]
    task: Task | None


class Moments:
    """Reads the recording along with the replay, in one pass and in bounded memory."""

    def __init__(self, timed: Iterable[TimedEvent]) -> None:
        self._timed: Iterator[TimedEvent] = iter(timed)
        self._before: TimedEvent | None = None  # the last event that was replayed
        self._next: TimedEvent | None = next(self._timed, None)
        self._dma: list[Event] = []  # at the position of the last event
        self._task: Task | None = None

    def at(self, events: int, branches: int, rip: int) -> Moment:
        """That of a position, which is not before the one that was asked for last."""
        while self._next is not None and self._next.event.index < events:
            self._pass(self._next)
            self._next = next(self._timed, None)
        dma = tuple(
            event.payload
            for event in self._dma
            if isinstance(event.payload, Dma) and (event.branches, event.rip) == (branches, rip)
        )
        return Moment(events, branches, rip, self._seconds(branches), dma, self._task)

    def _pass(self, timed: TimedEvent) -> None:
        event = timed.event
        if not event.same_position:
            self._dma.clear()
        if isinstance(event.payload, Dma):
            self._dma.append(event)
        elif isinstance(event.payload, Task):
            self._task = event.payload
        self._before = timed

    def _seconds(self, branches: int) -> float | None:
        """Between two events time goes by branches."""
        before, after = self._before, self._next
        if before is None or after is None:
            one = before or after
            return one.seconds if one is not None else None
        span = after.event.branches - before.event.branches
        done = min(max(branches - before.event.branches, 0), max(span, 0))
        share = done / span if span > 0 else 0.0
        return before.seconds + share * (after.seconds - before.seconds)
