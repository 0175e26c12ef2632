"""What can be counted in a log."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from typing import Protocol

from lvmm.logs.layout import EventKind

# Most addresses that are counted apart, of each sort: a log may hold any number of them.
ADDRESSES_MAX = 1 << 18


@dataclass(slots=True)
class Count:
    """Events and the bytes of the log that they take; `data`: bytes that a device wrote."""

    events: int = 0
    bytes: int = 0
    data: int = 0


@dataclass
class Statistics:
    """What was counted.

    `exits` are the events that an instruction of the guest caused: not interrupts, DMA or notes.
    `ports`, `mmio` and `msrs` are reads, by address or number; `code` has the exits by RIP.
    `uncounted`: events of those four that are not in them, as there were too many addresses.
    """

    kinds: dict[EventKind, Count] = field(default_factory=dict)
    exits: dict[EventKind, int] = field(default_factory=dict)
    streams: dict[int, Count] = field(default_factory=dict)
    ports: dict[int, Count] = field(default_factory=dict)
    mmio: dict[int, Count] = field(default_factory=dict)
    msrs: dict[int, Count] = field(default_factory=dict)
    code: dict[int, Count] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)
    last_branches: int = 0
    last_rip: int = 0
    last_kind: EventKind | None = None

    @property
    def events(self) -> int:
        """All events."""
        return sum(count.events for count in self.kinds.values())


@dataclass(frozen=True)
class LogPart:
    """Chunks that stand in `data`, which begins at the place `base` of their source; the places of
    the chunks are counted likewise. The last ones may be cut off.
    """

    data: bytes
    base: int
    offsets: array[int]

    def after(self, chunks: int) -> LogPart:
        """Without the first ones."""
        return replace(self, offsets=self.offsets[chunks:])


@dataclass(frozen=True)
class Counted:
    """The chunks that were counted. With an `error`, and so many of its events, so was a part of
    the next one; without, that is not all in the data.
    """

    chunks: int
    events: int = 0
    error: str = ""


class Counter(Protocol):
    """Counts the events of one part of a log after the other."""

    def add(self, part: LogPart, tables: bool) -> Counted:
        """Count events up to the first chunk that cannot be decoded, or is cut off.

        `tables` False: no counts by address.
        """

    def result(self) -> Statistics:
        """What was counted so far."""
