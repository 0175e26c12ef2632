"""The pages of guest memory that tell whether something watched can have been written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lvmm.debug import registers
from lvmm.guest_view import PAGE, AddressSpace, paging_mode
from lvmm.link import LinkClient, MemoryFault, MemorySpace

# The pages of longer ranges are not looked up one by one.
_MOST_BYTES = 64 * PAGE


def pages_behind(link: LinkClient, ranges: Iterable[tuple[int, int]]) -> frozenset[int] | None:
    """The physical addresses of the pages that these ranges (linear address, length) have now, and
    of the page tables that say so: while none of them is written, no write to a range happens.

    None when the ranges are too long for that. Raises LinkError.
    """
    wanted = list(ranges)
    if sum(length for _, length in wanted) > _MOST_BYTES:
        return None
    values = registers.by_name(link.read_registers())
    tables = _Tables(link)
    mode = paging_mode(values["cr0"], values["cr4"], values["efer"])
    space = AddressSpace(tables, mode, values["cr3"])
    linear = {page for at, size in wanted for page in range(at - at % PAGE, at + size, PAGE)}
    found = {space.translate(page) for page in linear}
    return frozenset(page for page in found if page is not None) | tables.pages


@dataclass(frozen=True)
class _Tables:
    """Physical memory that remembers the pages that were read: the page tables of a walk."""

    link: LinkClient
    pages: set[int] = field(default_factory=set)

    def read(self, offset: int, size: int) -> bytes:
        """As lvmm.guest_view.Physical."""
        self.pages.add(offset - offset % PAGE)
        try:
            return self.link.read_memory(offset, size, MemorySpace.PHYSICAL)
        except MemoryFault as fault:
            return fault.data
