"""The memory map that gdb asks for (gdb manual, E.17): it never reads outside of it.

The map is of linear addresses, and the guest's page tables change while gdb asks only once. So
everything is RAM, except where a linear address is the physical one: there MMIO is left out, and
ROM is read-only. That is the case without paging, and where the page tables say so at that time.
MMIO that is mapped elsewhere is refused at each access by the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lvmm.gdb.target import MemoryKind, MemoryRange, Registers, Target, TargetError
from lvmm.guest_view import AddressSpace, Mode

# The addresses that are not canonical, with the widest linear addresses of 57 bits; LLDB looks for
# a gap to put values in that are in no memory.
_NOT_CANONICAL = MemoryRange(1 << 56, (1 << 64) - (1 << 56), MemoryKind.MMIO)
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


def linear_map(target: Target, values: Registers) -> list[MemoryRange]:
    """RAM and ROM at linear addresses, ascending, for the page tables of now."""
    space = AddressSpace(_PhysicalMemory(target), _paging(values), values["cr3"])
    special = [
        part
        for part in sorted(target.memory_map(), key=lambda part: part.start)
        if part.kind is not MemoryKind.RAM and space.translate(part.start) == part.start
    ]
    return list(_around(special))


def memory_map_xml(ranges: Iterable[MemoryRange]) -> bytes:
    """The document."""
    lines = [
        f'<memory type="{part.kind.value}" start="{part.start:#x}"'
        f' length="{part.end - part.start:#x}"/>\n'
        for part in ranges
    ]
    return (_HEAD + "".join(lines) + "</memory-map>\n").encode()


def region_info(ranges: Iterable[MemoryRange], address: int) -> str:
    """LLDB's question about one address: its range, or the gap that it is in."""
    start, end, permissions = 0, 1 << 64, ""
    for part in ranges:
        if part.start <= address < part.end:
            kind = "rx" if part.kind is MemoryKind.ROM else "rwx"
            start, end, permissions = part.start, part.end, f"permissions:{kind};"
            break
        if part.end <= address:
            start = part.end
        else:
            end = min(end, part.start)
    return f"start:{start:x};size:{end - start:x};{permissions}"


def _around(special: Sequence[MemoryRange]) -> Iterator[MemoryRange]:
    """All addresses but those of MMIO and those that are not canonical."""
    at = 0
    for part in (*special, _NOT_CANONICAL, _END):
        if at < part.start:
            yield MemoryRange(at, part.start, MemoryKind.RAM)
        if part.kind is MemoryKind.ROM:
            yield part
        at = max(at, part.end)


def _paging(values: Registers) -> Mode:
    """The paging mode (SDM volume 3, 4.1.1)."""
    if not values["cr0"] >> 31 & 1:
        return Mode.NONE
    if not values["cr4"] >> 5 & 1:
        return Mode.LEGACY
    if not values["efer"] >> 10 & 1:
        return Mode.PAE
    return Mode.LEVEL5 if values["cr4"] >> 12 & 1 else Mode.LEVEL4
