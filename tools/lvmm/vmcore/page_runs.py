"""Where RAM is seen: page tables as runs that go on in both linear and physical addresses."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from lvmm.guest_view import AddressSpace, Mode
from lvmm.vmcore.elf_core import Run

# Page tables that a guest has destroyed may name themselves, and map everything again and again.
_MAPPINGS_MAX = 1 << 22
_RUNS_MAX = 1 << 17

# Linux maps one page at 65,536 places for the stacks of 16-bit programs (espfix); a few do.
_ALIASES_MAX = 16

# RAM that is mapped nowhere is put where no mapping can be: these addresses are not canonical.
UNMAPPED_BASE = 1 << 62

Ranges = Sequence[tuple[int, int]]


class RunMap:
    """The runs of RAM for a core; `cut_short`: there are more than anybody can use."""

    def __init__(self, spaces: Iterable[AddressSpace], ranges: Ranges) -> None:
        """Those of the first address space, and of each other what is at further addresses."""
        self.runs: list[Run] = []
        self.cut_short = False
        for space in spaces:
            self._add(space, ranges)
        self.runs += _unmapped(self.runs, ranges)

    def _add(self, space: AddressSpace, ranges: Ranges) -> None:
        mappings = list(islice(_mappings(space, ranges), _MAPPINGS_MAX + 1))
        found = list(islice(_joined(_in_ram(mappings, ranges)), _RUNS_MAX + 1))
        if len(mappings) > _MAPPINGS_MAX or len(found) > _RUNS_MAX:
            self.cut_short = True
        seen = self.runs
        self.runs = sorted(
            [*seen, *(run for run in found[:_RUNS_MAX] if not _overlaps(seen, run))],
            key=lambda run: run.linear,
        )


def _mappings(space: AddressSpace, ranges: Ranges) -> Iterator[tuple[int, int, int]]:
    if space.mode is Mode.NONE:
        yield from ((start, start, end - start) for start, end in ranges)
    else:
        yield from space.mappings()


def _in_ram(mappings: Iterable[tuple[int, int, int]], ranges: Ranges) -> Iterator[Run]:
    """The parts of mappings that are RAM."""
    starts = [start for start, _ in ranges]
    aliases: Counter[int] = Counter()
    for linear, physical, size in mappings:
        aliases[physical] += 1
        if aliases[physical] > _ALIASES_MAX:
            continue
        for start, end in ranges[max(bisect.bisect_right(starts, physical) - 1, 0) :]:
            low, high = max(start, physical), min(end, physical + size)
            if start >= physical + size:
                break
            if low < high:
                yield Run(linear + low - physical, low, high - low)


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    last: Run | None = None
    for run in runs:
        if (
            last is not None
            and run.linear == last.linear + last.size
            and run.physical == last.physical + last.size
        ):
            last = Run(last.linear, last.physical, last.size + run.size)
            continue
        if last is not None:
            yield last
        last = run
    if last is not None:
        yield last


def _overlaps(runs: Sequence[Run], run: Run) -> bool:
    """Whether one of the runs, ascending by linear address, has an address of this one."""
    index = bisect.bisect_left(runs, run.linear + run.size, key=lambda known: known.linear) - 1
    return index >= 0 and runs[index].linear + runs[index].size > run.linear


def _unmapped(runs: Iterable[Run], ranges: Ranges) -> Iterator[Run]:
    """The RAM that no run has."""
    covered = sorted((run.physical, run.physical + run.size) for run in runs)
    for start, end in ranges:
        at = start
        for low, high in covered:
            if high <= at:
                continue
            if low >= end:
                break
            if low > at:
                yield Run(UNMAPPED_BASE + at, at, low - at)
            at = max(at, high)
        if at < end:
            yield Run(UNMAPPED_BASE + at, at, end - at)
