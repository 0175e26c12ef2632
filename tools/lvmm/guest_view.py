"""A look into guest memory from outside: the memory image of a stopped machine, page tables walked.

Paging is that of the SDM, volume 3, chapter 4. Permissions are not checked: what matters is where
a byte is, not who may read it.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

PAGE = 4096

_PRESENT = 1
_LARGE = 1 << 7
_ADDRESS = 0x000F_FFFF_FFFF_F000
_CR3_ADDRESS = {"32": 0xFFFF_F000, "pae": 0xFFFF_FFE0}


class Physical(Protocol):
    """Physical memory: lvmm.logs.source.Source is one. Short or empty where there is nothing."""

    def read(self, offset: int, size: int) -> bytes: ...


class Mode(enum.Enum):
    """The paging modes."""

    NONE = "none"
    LEGACY = "32"
    PAE = "pae"
    LEVEL4 = "4-level"
    LEVEL5 = "5-level"


_CR0_PG = 1 << 31
_CR4_PAE = 1 << 5
_CR4_LA57 = 1 << 12
_EFER_LMA = 1 << 10


def paging_mode(cr0: int, cr4: int, efer: int) -> Mode:
    """The mode that these registers choose (SDM volume 3, 4.1.1)."""
    if not cr0 & _CR0_PG:
        return Mode.NONE
    if efer & _EFER_LMA:
        return Mode.LEVEL5 if cr4 & _CR4_LA57 else Mode.LEVEL4
    return Mode.PAE if cr4 & _CR4_PAE else Mode.LEGACY


# Of each level from the top: shift, index bits, whether an entry may map a page there.
_LEVEL1_TO_4 = ((39, 9, False), (30, 9, True), (21, 9, True), (12, 9, True))
_LEVELS = {
    Mode.LEGACY: ((22, 10, True), (12, 10, True)),
    Mode.PAE: ((30, 2, False), (21, 9, True), (12, 9, True)),
    Mode.LEVEL4: _LEVEL1_TO_4,
    Mode.LEVEL5: ((48, 9, False), *_LEVEL1_TO_4),
}


@dataclass(frozen=True)
class AddressSpace:
    """What the guest sees at linear addresses, by CR3 and paging mode."""

    memory: Physical
    mode: Mode
    cr3: int = 0

    def translate(self, linear: int) -> int | None:
        """The physical address; None where nothing is mapped."""
        if self.mode is Mode.NONE:
            return linear
        if not self._canonical(linear):
            return None
        size = 4 if self.mode is Mode.LEGACY else 8
        table = self.cr3 & _CR3_ADDRESS.get(self.mode.value, _ADDRESS)
        for shift, bits, may_map in _LEVELS[self.mode]:
            index = linear >> shift & ((1 << bits) - 1)
            data = self.memory.read(table + index * size, size)
            entry = int.from_bytes(data, "little")
            if len(data) < size or not entry & _PRESENT:
                return None
            if shift == 12 or (may_map and entry & _LARGE):
                offset = linear & ((1 << shift) - 1)
                return self._frame(entry, shift) | offset
            table = entry & _ADDRESS
        return None

    def read(self, linear: int, size: int) -> bytes:
        """The bytes from `linear`, up to the first that is not mapped or not in the image."""
        parts = []
        while size > 0:
            physical = self.translate(linear)
            if physical is None:
                break
            wanted = min(size, PAGE - linear % PAGE)
            part = self.memory.read(physical, wanted)
            parts.append(part)
            if len(part) < wanted:
                break
            linear += wanted
            size -= wanted
        return b"".join(parts)

    def read_u64(self, linear: int) -> int | None:
        """The 8 bytes at `linear` as a number; None where they are not mapped."""
        data = self.read(linear, 8)
        return int.from_bytes(data, "little") if len(data) == 8 else None

    def mappings(self) -> Iterator[tuple[int, int, int]]:
        """Yields linear and physical address and size of every mapping, ascending by linear ones.

        Pages with no memory behind them are among them. Without paging there is none.
        """
        if self.mode is not Mode.NONE:
            yield from self._mappings(self.cr3 & _CR3_ADDRESS.get(self.mode.value, _ADDRESS), 0, 0)

    def _mappings(self, table: int, level: int, linear: int) -> Iterator[tuple[int, int, int]]:
        shift, bits, may_map = _LEVELS[self.mode][level]
        size = 4 if self.mode is Mode.LEGACY else 8
        data = self.memory.read(table, size << bits)
        if not data.strip(b"\0"):
            return
        entries = struct.unpack_from(f"<{len(data) // size}{'I' if size == 4 else 'Q'}", data)
        for index, entry in enumerate(entries):
            if not entry & _PRESENT:
                continue
            at = linear | index << shift
            if level == 0 and index >> (bits - 1) and self.mode in (Mode.LEVEL4, Mode.LEVEL5):
                at |= -1 << (shift + bits) & (1 << 64) - 1  # canonical: the sign is extended
            if shift == 12 or (may_map and entry & _LARGE):
                yield at, self._frame(entry, shift), 1 << shift
            else:
                yield from self._mappings(entry & _ADDRESS, level + 1, at)

    def _canonical(self, linear: int) -> bool:
        if self.mode in (Mode.LEGACY, Mode.PAE):
            return linear < 1 << 32
        top = linear >> (47 if self.mode is Mode.LEVEL4 else 56)
        return top in (0, (1 << (17 if self.mode is Mode.LEVEL4 else 8)) - 1)

    def _frame(self, entry: int, shift: int) -> int:
        if self.mode is Mode.LEGACY and shift == 22:  # PSE-36: bits 39-32 are in bits 20-13
            return (entry & 0xFFC0_0000) | (entry >> 13 & 0xFF) << 32
        return entry & _ADDRESS & ~((1 << shift) - 1)


@dataclass(frozen=True)
class CodeView:
    """How code is to be read: through `space`, at `base` + RIP, as 16-, 32- or 64-bit code."""

    space: AddressSpace
    bits: int
    base: int = 0


def find_code(memory: Physical, cr3: int, rip: int, code: bytes, wide: bool) -> CodeView | None:
    """The view in which the instruction bytes `code`, which the CPU had at RIP, are found.

    `wide`: a register does not fit into 32 bits, so the CPU is in 64-bit mode. None when the bytes
    are found in no mode, or when there are none.
    """
    if not code:
        return None
    wide = wide or rip >> 32 != 0
    modes = [(Mode.LEVEL4, 64), (Mode.LEVEL5, 64)]
    if not wide:
        modes += [(Mode.PAE, 32), (Mode.LEGACY, 32), (Mode.NONE, 32)]
    for mode, bits in modes:
        if cr3 & ~(PAGE - 1) == 0 and mode is not Mode.NONE:
            continue  # CR3 was never written
        space = AddressSpace(memory, mode, cr3)
        if space.read(rip, len(code)) == code:
            return CodeView(space, bits)
    return None if wide or rip >> 16 else _find_real_mode(memory, rip, code)


def _find_real_mode(memory: Physical, rip: int, code: bytes) -> CodeView | None:
    """Real mode: the code segment's base is a multiple of 16 below 1 MiB; only one may fit."""
    low = memory.read(0, (1 << 20) + (1 << 16))
    hits = []
    at = low.find(code)
    while at >= 0:
        if at >= rip and (at - rip) % 16 == 0 and at - rip < 1 << 20:
            hits.append(at - rip)
        at = low.find(code, at + 1)
    if len(hits) != 1:
        return None
    return CodeView(AddressSpace(memory, Mode.NONE), 16, hits[0])
