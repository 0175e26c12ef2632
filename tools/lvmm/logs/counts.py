"""What can be counted in a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lvmm.logs.layout import ChunkHeader, EventKind

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


class Counter(Protocol):
    """Counts the events of one chunk after the other."""

    def add(self, header: ChunkHeader, payload: bytes, tables: bool) -> tuple[int, str]:
        """Count a chunk's events; returns how many could be decoded, and why no more.

        `tables` False: no counts by address.
        """

    def result(self) -> Statistics:
        """What was counted so far."""
