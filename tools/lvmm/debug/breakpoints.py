"""The breakpoints and watchpoints that a debugger has set, by the numbers that the monitor gave."""

from __future__ import annotations

from lvmm.gdb.target import BreakpointKind
from lvmm.link import BreakpointKind as LinkKind
from lvmm.link import LinkClient

Breakpoint = tuple[BreakpointKind, int, int]  # kind, address, bytes

_KINDS = {
    BreakpointKind.SOFTWARE: LinkKind.SOFTWARE,
    BreakpointKind.HARDWARE: LinkKind.HARDWARE,
    BreakpointKind.WRITE: LinkKind.WATCH_WRITE,
    BreakpointKind.READ: LinkKind.WATCH_READ,
    BreakpointKind.ACCESS: LinkKind.WATCH_ACCESS,
}


class Breakpoints:
    """Sets and clears them. Raises LinkError."""

    def __init__(self, link: LinkClient) -> None:
        self._link = link
        self._numbers: dict[Breakpoint, int] = {}

    def set(self, breakpoint_: Breakpoint) -> None:
        """Sets one that is not set."""
        kind, address, length = breakpoint_
        self._numbers[breakpoint_] = self._link.set_breakpoint(_KINDS[kind], address, length)

    def clear(self, breakpoint_: Breakpoint) -> None:
        """Clears one; nothing where it is not set."""
        number = self._numbers.pop(breakpoint_, None)
        if number is not None:
            self._link.clear_breakpoint(number)

    def forget(self) -> None:
        """The monitor was started again: it has none."""
        self._numbers.clear()

    def __bool__(self) -> bool:
        return bool(self._numbers)

    @property
    def kinds(self) -> dict[int, BreakpointKind]:
        """By number."""
        return {number: kind for (kind, _, _), number in self._numbers.items()}

    @property
    def written(self) -> list[tuple[int, int]] | None:
        """The ranges, address and bytes, that are watched for writes; None where there is anything
        else than such watchpoints.
        """
        if any(kind is not BreakpointKind.WRITE for kind, _, _ in self._numbers):
            return None
        return [(address, length) for _, address, length in self._numbers]
