"""Breakpoints and watchpoints of a search, with the four debug registers used where they serve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from lvmm.link import BreakpointKind, MemoryFault, NoSpace
from lvmm.link.layout import Opcode
from lvmm.queries.places import Range

_DEBUG_REGISTERS = 4
_WORD_BYTES = 8  # of a debug register


class Points(Protocol):
    """What of lvmm.link.LinkClient sets them."""

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int = 1) -> int: ...

    def clear_breakpoint(self, number: int) -> None: ...


class SearchPoints:
    """Sets and clears them. Methods raise MemoryFault where memory is not mapped, and NoSpace."""

    def __init__(self) -> None:
        self._in_registers: set[int] = set()  # the numbers of those, as far as we know

    def break_at(self, link: Points, address: int) -> int:
        """A breakpoint, also where nothing is mapped yet while there is a debug register."""
        try:
            return link.set_breakpoint(BreakpointKind.SOFTWARE, address)
        except MemoryFault:
            try:
                return self.break_before_mapped(link, address)
            except NoSpace:
                raise MemoryFault(Opcode.SET_BREAKPOINT, address, 0) from None

    def break_before_mapped(self, link: Points, address: int) -> int:
        """A breakpoint in a debug register."""
        number = link.set_breakpoint(BreakpointKind.HARDWARE, address)
        self._in_registers.add(number)
        return number

    def watch(self, link: Points, kind: BreakpointKind, place: Range) -> frozenset[int]:
        """A watched range: in debug registers if they are enough for it, else by its pages."""
        parts = list(islice(_aligned_parts(place), _DEBUG_REGISTERS + 1))
        if len(parts) > _DEBUG_REGISTERS - len(self._in_registers):
            return frozenset((link.set_breakpoint(kind, place.address, place.length),))
        numbers = frozenset(link.set_breakpoint(kind, at.address, at.length) for at in parts)
        self._in_registers |= numbers
        return numbers

    def clear(self, link: Points, numbers: Iterable[int]) -> None:
        """Removes some."""
        for number in numbers:
            link.clear_breakpoint(number)
            self._in_registers.discard(number)


def _aligned_parts(place: Range) -> Iterator[Range]:
    """The parts that a debug register can have each: 1, 2, 4 or 8 bytes, aligned (SDM volume 3,
    17.2.5).
    """
    at, end = place.address, place.address + place.length
    while at < end:
        size = _WORD_BYTES
        while at % size or at + size > end:
            size //= 2
        yield Range(at, size)
        at += size
