"""The memory map that gdb asks for (gdb manual, E.17): it never reads outside of it.

The map is of linear addresses, and the guest's page tables change while gdb asks only once. So
everything is RAM, except where a linear address is the physical one: there MMIO is left out, and
ROM is read-only. That is the case without paging, and where the page tables say so at that time.
MMIO that is mapped elsewhere is refused at each access by the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvmm.gdb.target import MemoryKind, MemoryRange, Registers, Target, TargetError
from lvmm.guest_view import AddressSpace, Mode

# Where the addresses' upper half starts, and where they end.
_HALF = MemoryRange(1 << 63, 1 << 63, MemoryKind.MMIO)
_END = MemoryRange(1 << 64, 1 << 64, MemoryKind.MMIO)

_HEAD = (
    '<?xml version="1.0"?>\n'
    '<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN"'
    ' "http://sourceware.org/gdb/gdb-memory-map.dtd">\n'
    "<memory-map>\n"
)


@dataclass(frozen=True)
class _PhysicalMemory:
    """The target's physical memory, for the walk of the page tables."""

    target: Target

    def read(self, offset: int, size: int) -> bytes:
        try:
            return self.target.read_memory(offset, size, physical=True)
        except TargetError:
            return b""


def memory_map_xml(target: Target, values: Registers) -> bytes:
    """The document, for the page tables of now."""
    space = AddressSpace(_PhysicalMemory(target), _paging(values), values["cr3"])
    special = [
        part
        for part in sorted(target.memory_map(), key=lambda part: part.start)
        if part.kind is not MemoryKind.RAM and space.translate(part.start) == part.start
    ]
    lines = [
        f'<memory type="{kind.value}" start="{start:#x}" length="{end - start:#x}"/>\n'
        for start, end, kind in _linear(special)
    ]
    return (_HEAD + "".join(lines) + "</memory-map>\n").encode()


def _linear(special: Sequence[MemoryRange]) -> list[tuple[int, int, MemoryKind]]:
    """All linear addresses as ranges, without MMIO. None has the length 2**64: it has no number."""
    ranges = []
    at = 0
    for part in (*special, _HALF, _END):
        if at < part.start:
            ranges.append((at, part.start, MemoryKind.RAM))
        if part.kind is MemoryKind.ROM:
            ranges.append((part.start, part.end, MemoryKind.ROM))
        at = max(at, part.end)
    return ranges


def _paging(values: Registers) -> Mode:
    """The paging mode (SDM volume 3, 4.1.1)."""
    if not values["cr0"] >> 31 & 1:
        return Mode.NONE
    if not values["cr4"] >> 5 & 1:
        return Mode.LEGACY
    if not values["efer"] >> 10 & 1:
        return Mode.PAE
    return Mode.LEVEL5 if values["cr4"] >> 12 & 1 else Mode.LEVEL4
