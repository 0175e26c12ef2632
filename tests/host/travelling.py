"""A debugger's target over a replay of which the whole run is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.host.replay_model import Run
from tests.host.replay_monitor import Habits, ReplayMonitor, hit

from lvmm.debug.target import LinkTarget
from lvmm.gdb.target import BreakpointKind
from lvmm.link import BreakpointKind as LinkKind
from lvmm.link import LinkClient, Timing
from lvmm.link.layout import SetBreakpointRequest

Point = tuple[BreakpointKind, int, int]  # kind, address, bytes

# gdb's kinds and the link's have the same order; the link has more.
_KINDS = dict(zip(BreakpointKind, LinkKind, strict=False))

# The line loses nothing.
_TIMING = Timing(retry=60, give_up=60)


@contextlib.contextmanager
def travelling(run: Run, habits: Habits) -> Iterator[tuple[LinkTarget, ReplayMonitor]]:
    """The target, and the monitor that it talks to."""
    monitor = ReplayMonitor(run, habits)
    with LinkClient(lambda: monitor, timing=_TIMING) as link:
        yield LinkTarget(link), monitor


def hits(run: Run, index: int, points: list[Point]) -> bool:
    """Whether anything is met between a boundary and the next."""
    return any(
        hit(run.boundaries[index], SetBreakpointRequest(_KINDS[kind], length, address)) is not None
        for kind, address, length in points
    )


def last_hit(run: Run, before: int, points: list[Point]) -> int | None:
    """The last boundary before this one that is at a breakpoint, or before a watched access."""
    return next((index for index in reversed(range(before)) if hits(run, index, points)), None)
