"""Which events of a recording to show; whole chunks are passed over where that can be."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvmm.errors import UsageError
from lvmm.logs.codec import Event
from lvmm.logs.devices import Device
from lvmm.logs.layout import EventKind
from lvmm.logs.recording import Recording

_ENDLESS = 1 << 64


@dataclass(frozen=True)
class Selection:
    """All that are of these kinds and of this device, with indices `first` to `last`, at guest
    times (conditional branches) `start` to `end`; of those the last `newest`. None: any.
    """

    kinds: frozenset[EventKind] | None = None
    device: Device | None = None
    first: int = 0
    last: int = _ENDLESS
    start: int = 0
    end: int = _ENDLESS
    newest: int | None = None

    def of(self, recording: Recording) -> Iterable[Event]:
        """The recording's events, in order."""
        events = self._matching(recording)
        return deque(events, maxlen=self.newest) if self.newest is not None else events

    def _matching(self, recording: Recording) -> Iterator[Event]:
        first, last = self._indices(recording)
        for event in recording.events(first, last):
            if (
                self.first <= event.index <= self.last
                and self.start <= event.branches <= self.end
                and (self.kinds is None or event.kind in self.kinds)
                and (self.device is None or self.device.has(event.payload))
            ):
                yield event

    def _indices(self, recording: Recording) -> tuple[int, int]:
        """Indices outside of which there is no event that is wanted."""
        first, last = self.first, self.last
        for chunk in recording.chunks:
            header = chunk.header
            if header.first_branches < self.start:
                first = max(first, header.first_event)  # all chunks before end at most here
            elif header.first_branches > self.end:
                last = min(last, header.first_event - 1)
                break
        if self.newest is not None and self.kinds is None and self.device is None:
            first = max(first, self._newest_from(recording, last))
        return first, last

    def _newest_from(self, recording: Recording, last: int) -> int:
        if self.end != _ENDLESS:
            return 0
        left = self.newest or 0
        for chunk in reversed(recording.chunks):
            low, high = chunk.header.first_event, min(chunk.next_event - 1, last)
            left -= max(high - low + 1, 0)
            if left <= 0:
                return low
        return 0


def parse_kinds(text: str) -> frozenset[EventKind]:
    """Read `KIND[,KIND]`. Raises UsageError."""
    wanted = set()
    for name in text.split(","):
        try:
            wanted.add(EventKind[name.strip().upper()])
        except KeyError:
            known = ", ".join(kind.name for kind in EventKind)
            raise UsageError(f"--type {name}: no such kind of event; there are {known}") from None
    return frozenset(wanted)


def parse_span(text: str) -> tuple[int, int]:
    """Read `A-B`, `A-` or `A` as first and last index. Raises UsageError."""
    first, dash, last = text.partition("-")
    try:
        low = int(first)
        high = int(last) if last else (_ENDLESS if dash else low)
    except ValueError:
        raise UsageError(f"--events {text}: give A-B, A- or A") from None
    if high < low:
        raise UsageError(f"--events {text}: the last event is before the first")
    return low, high
