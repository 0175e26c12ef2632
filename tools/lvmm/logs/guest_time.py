"""Guest time of events: seconds, by interpolation between the TSC readings in the log.

    machine = recording.header.machine
    clock = GuestClock(machine.tsc_hz, machine.start_tsc)
    for timed in clock.timed(recording.events()):
        print(timed.seconds, timed.event.name)

0 is the start of the recording. A logged reading (RDTSC, RDTSCP, RDMSR of the TSC, and the
monitor's own, TIME) is exact. Events at one position have one time. Events between two readings are
placed by the work done: their branches, and a share for each position, which cost the machine an
exit. Work does not explain the time that a guest spends in HLT: what an interval lasts beyond its
work is a wait, and ends at an interrupt in it, or at what a device wrote. (A REP instruction lasts
without branches, too, but has its place in the log wherever an interrupt met it.) Before the first
reading, after the last, and without any, time is an estimate by the work alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvmm.logs.codec import Event
from lvmm.logs.layout import Clock, Dma, Interrupt, Nmi, Rdmsr, Rdtsc, Rdtscp, Time

IA32_TIME_STAMP_COUNTER = 0x10  # SDM volume 4, table 2-2

# Work is counted in branches; the position of an event counts as so many.
_EVENT_WORK = 25
# Ticks for a unit of work, until some were measured: the monitor's own low guess
# (hypervisor/core/guest_time.c).
_FIRST_RATE = 6.0
_RATE_SHARE = 1 / 16  # of a new measurement in the mean
_RATE_JUMP = 4.0  # one interval counts as at most so many times the mean
_RATE_WORK = 64  # intervals with less work measure nothing

# A wait is longer than the work of its interval, and than this.
_WAIT_SECONDS = 50e-6

# Events that are held back until the next reading, at most.
_HELD_EVENTS = 1 << 16
_HELD_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event and its guest time in seconds.

    `waited`: seconds just before it that no work explains. The guest was in HLT, or in long code
    without a branch.
    """

    event: Event
    seconds: float
    waited: float = 0.0


def tsc_reading(event: Event) -> int | None:
    """The time-stamp counter at an event, if it says."""
    payload = event.payload
    if isinstance(payload, Clock | Rdtsc | Rdtscp | Time):
        return payload.tsc
    if isinstance(payload, Rdmsr) and payload.index == IA32_TIME_STAMP_COUNTER:
        return None if payload.faulted else payload.value
    return None


class GuestClock:
    """Gives each event of a recording its guest time, in one pass and in bounded memory.

    `tsc_hz` and `start_tsc` are the header's; 0 counts as one tick a nanosecond, and as unknown.
    `readings` counts the readings seen so far: while it is 0, time is an estimate.
    """

    def __init__(self, tsc_hz: int, start_tsc: int = 0) -> None:
        self.readings = 0
        self._hz = float(tsc_hz or 10**9)
        self._rate = _FIRST_RATE
        self._tsc = start_tsc  # the last reading
        self._knows_tsc = start_tsc != 0
        self._ticks = 0.0  # guest time where the held events begin
        self._ahead = 0.0  # of it, what was estimated since the last reading
        self._branches = 0  # position there
        self._idle_at: set[int] = set()  # RIPs
        self._held: list[Event] = []
        self._held_bytes = 0

    def timed(self, events: Iterable[Event]) -> Iterator[TimedEvent]:
        """Yields the events in order; their times never go back."""
        for event in events:
            self._held.append(event)
            self._held_bytes += event.payload.data_len
            tsc = tsc_reading(event)
            if tsc is not None:
                yield from self._until_reading(tsc)
            elif len(self._held) >= _HELD_EVENTS or self._held_bytes >= _HELD_BYTES:
                yield from self._estimated()
        yield from self._estimated()

    def _until_reading(self, tsc: int) -> Iterator[TimedEvent]:
        """The held events, the last of which is a reading."""
        work = self._work()
        ticks = work[-1] * self._rate
        if self._knows_tsc:
            # A guest that sets its TSC back makes time stand still, not run backwards. What was
            # estimated on the way may have been too much as well.
            ticks = max(tsc - self._tsc - self._ahead, 0.0)
        self.readings += 1
        self._knows_tsc = True
        self._tsc = tsc
        wait = ticks - work[-1] * self._rate
        waits = self._waits() if wait > max(ticks / 2, self._hz * _WAIT_SECONDS) else set()
        if not waits:
            self._measure(ticks, work[-1])
            wait = 0.0
        yield from self._place(
            work, (ticks - wait) / max(work[-1], 1), waits, wait / max(len(waits), 1)
        )
        self._ahead = 0.0

    def _estimated(self) -> Iterator[TimedEvent]:
        """The held events where no reading follows, or one too far away."""
        if self._held:
            work = self._work()
            self._ahead += work[-1] * self._rate
            yield from self._place(work, self._rate, set(), 0.0)

    def _place(
        self, work: list[int], rate: float, waits: set[int], wait: float
    ) -> Iterator[TimedEvent]:
        """Yields the held events at `rate` ticks for a unit of work, and forgets them."""
        held, start = self._held, self._ticks
        self._held, self._held_bytes = [], 0
        self._branches = held[-1].branches
        self._ticks = start + work[-1] * rate + wait * len(waits)
        waited = 0.0
        for index, event in enumerate(held):
            before = wait if index in waits else 0.0
            waited += before
            ticks = start + work[index] * rate + waited
            yield TimedEvent(event, ticks / self._hz, before / self._hz)

    def _work(self) -> list[int]:
        """The work from where the held events begin to each of them."""
        work = []
        exits = 0
        for event in self._held:
            exits += not event.same_position
            work.append(max(event.branches - self._branches, 0) + _EVENT_WORK * exits)
        return work

    def _waits(self) -> set[int]:
        """Which held events come first after a wait: at the positions of interrupts, the first."""
        found = set()
        first = None  # none: events at the position of the last reading waited for nothing
        for index, event in enumerate(self._held):
            if not event.same_position:
                first = index
            if first is not None and isinstance(event.payload, Interrupt | Nmi | Dma):
                if self._held[first].registers is None and self._held[first].place is None:
                    self._idle_at.add(event.rip)
                # The monitor stores registers now and then at any address.
                if event.rip in self._idle_at:
                    found.add(first)
        return found

    def _measure(self, ticks: float, work: int) -> None:
        if work >= _RATE_WORK and ticks > 0:
            measured = min(ticks / work, self._rate * _RATE_JUMP)
            self._rate += (measured - self._rate) * _RATE_SHARE
