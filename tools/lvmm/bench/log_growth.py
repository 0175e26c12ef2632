"""What a log grew by between two positions of the guest, by kinds of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvmm.logs import Event, Recording


@dataclass
class LogGrowth:
    """Bytes: `total` of the log, with its chunks' headers; `kinds` of the events alone."""

    total: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    events: int = 0


def log_growth(log: Path, parts: Mapping[str, tuple[int, int]]) -> dict[str, LogGrowth]:
    """For parts from one count of conditional branches to another, both since the log's begin."""
    with Recording.open(log) as recording:
        return growth_of(recording.events(), parts)


def growth_of(
    events: Iterable[Event], parts: Mapping[str, tuple[int, int]]
) -> dict[str, LogGrowth]:
    """The same, of these events; an event at a part's end is the part's. Parts do not overlap."""
    grown = {name: LogGrowth() for name in parts}
    order = sorted((last, first, name) for name, (first, last) in parts.items())
    begin: int | None = None  # where the last part's first event begins
    at = 0
    for event in events:
        while at < len(order) and event.branches > order[at][0]:
            at, begin = at + 1, None
        if at == len(order):
            break
        _last, first, name = order[at]
        if event.branches <= first:
            continue
        begin = event.offset if begin is None else begin
        part = grown[name]
        kind = event.kind.name
        part.kinds[kind] = part.kinds.get(kind, 0) + event.size
        part.events += 1
        part.total = event.offset + event.size - begin
    return grown
