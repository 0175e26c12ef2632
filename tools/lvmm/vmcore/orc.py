"""ORC, by which a Linux kernel unwinds its stack: tables in its memory, here as DWARF rules.

arch/x86/include/asm/orc_types.h and arch/x86/kernel/unwind_orc.c. A debugger knows DWARF's
call frame information (version 4, section 6.4) and not ORC.
"""

from __future__ import annotations

import bisect
import itertools
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvmm.guest_view import AddressSpace

_ENTRY = struct.Struct("<hhH")
_ENTRIES_MAX = 1 << 22

# enum of a frame's types before Linux 6.4; later ones have two more in front.
_CALL, _REGS, _REGS_PARTIAL = range(3)
_NONE = -1  # no rule: the outermost frame, or unknown

_UNDEFINED, _PREV_SP, _DX, _DI, _BP, _SP, _R10, _R13, _BP_INDIRECT, _SP_INDIRECT = range(10)

# DWARF's numbers of registers (System V ABI, AMD64 supplement, figure 3.36).
_DWARF = {_DX: 1, _DI: 5, _BP: 6, _SP: 7, _R10: 10, _R13: 13}
_RBP, _RSP, _RIP = 6, 7, 16
_NOT_SAVED = (0, 1, 2, 3, 4, 5, *range(8, 16))
# struct pt_regs: where each register is.
_PT_REGS = {
    15: 0,
    14: 8,
    13: 16,
    12: 24,
    _RBP: 32,
    3: 40,
    11: 48,
    10: 56,
    9: 64,
    8: 72,
    0: 80,
    2: 88,
    1: 96,
    4: 104,
    5: 112,
    _RIP: 128,
    _RSP: 152,
}
_IRET_FRAME = {_RIP: 0, _RSP: 24}

_DATA_ALIGN = -8
_ADVANCE_LOC1, _ADVANCE_LOC2, _ADVANCE_LOC4 = 2, 3, 4
_UNDEFINED_RULE, _SAME_VALUE, _REMEMBER, _RESTORE = 7, 8, 10, 11
_DEF_CFA, _DEF_CFA_EXPRESSION, _EXPRESSION = 12, 15, 16
_OFFSET_SF, _VAL_OFFSET = 17, 20
_OP_DEREF, _OP_BREG, _OP_CONSTS, _OP_PLUS = 0x06, 0x70, 0x11, 0x22


@dataclass(frozen=True)
class OrcTable:
    """Addresses, ascending, and the entry that holds from each on."""

    addresses: list[int]
    entries: list[tuple[int, int, int]]


def new_types(release: str) -> bool:
    """Whether a kernel's ORC has the types of Linux 6.4 and later."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return match is not None and (int(match[1]), int(match[2])) >= (6, 4)


def read_orc(space: AddressSpace, ips: int, entries: int, count: int) -> OrcTable | None:
    """The table of `count` entries at two addresses; None when it is damaged."""
    if not 0 < count <= _ENTRIES_MAX:
        return None
    offsets = space.read(ips, 4 * count)
    data = space.read(entries, _ENTRY.size * count)
    if len(offsets) < 4 * count or len(data) < _ENTRY.size * count:
        return None
    addresses = [
        ips + 4 * index + offset
        for index, (offset,) in enumerate(struct.iter_unpack("<i", offsets))
    ]
    if any(a > b for a, b in itertools.pairwise(addresses)):
        return None
    return OrcTable(addresses, list(_ENTRY.iter_unpack(data)))


class FrameWriter:
    """Makes the content of a .debug_frame section."""

    def __init__(self, *, new: bool) -> None:
        """`new`: the entries are of Linux 6.4 or later."""
        self._new = new
        self._rules: dict[tuple[int, int, int], bytes] = {}
        initial = b"".join(bytes((_UNDEFINED_RULE, reg)) for reg in (*_NOT_SAVED, _RIP))
        # Version 1, no augmentation, code alignment 1, data alignment, the return address' column.
        head = struct.pack("<IB", 0xFFFFFFFF, 1) + b"\0\1" + _sleb(_DATA_ALIGN) + bytes((_RIP,))
        # What holds where there is no entry: the frame is the outermost one.
        none = bytes((_DEF_CFA, _RSP, 0))
        self._out = bytearray(_framed(head + none + initial))

    @property
    def content(self) -> bytes:
        """The section."""
        return bytes(self._out)

    def add(self, table: OrcTable, functions: Iterable[tuple[int, int]]) -> None:
        """Adds the rules of code at [start, end) that is described by the table."""
        for start, end in functions:
            first = max(bisect.bisect_right(table.addresses, start) - 1, 0)
            last = bisect.bisect_left(table.addresses, end)
            if first < last:
                self._add(start, end, table.addresses[first:last], table.entries[first:last])

    def _add(
        self,
        start: int,
        end: int,
        addresses: Sequence[int],
        entries: Sequence[tuple[int, int, int]],
    ) -> None:
        program = bytearray((_REMEMBER,))
        at = start
        for index, (address, entry) in enumerate(zip(addresses, entries, strict=True)):
            if index:
                program += _advance(max(address, start) - at)
                program += bytes((_RESTORE, _REMEMBER))
                at = max(address, start)
            rule = self._rules.get(entry)
            if rule is None:
                rule = self._rules[entry] = self._rule(entry)
            program += rule
        self._out += _framed(struct.pack("<IQQ", 0, start, end - start) + program)

    def _rule(self, entry: tuple[int, int, int]) -> bytes:
        sp_offset, bp_offset, word = entry
        sp_reg, bp_reg, kind = word & 15, word >> 4 & 15, self._kind(word >> 8)
        if kind == _NONE or sp_reg == _UNDEFINED:
            return b""
        out = _cfa(sp_reg, sp_offset)
        if not out:
            return b""
        if kind == _CALL:
            out += _saved(_RIP, -8) + bytes((_VAL_OFFSET, _RSP, 0))
        else:
            out += b"".join(
                _saved(reg, at) for reg, at in (_PT_REGS if kind == _REGS else _IRET_FRAME).items()
            )
        if bp_reg == _PREV_SP:
            out += _saved(_RBP, bp_offset)
        elif bp_reg == _BP:
            place = bytes((_OP_BREG + _RBP,)) + _sleb(bp_offset)
            out += bytes((_EXPRESSION, _RBP, len(place))) + place
        return out

    def _kind(self, bits: int) -> int:
        """The type of a frame."""
        if not self._new:
            # A flag for signals came between type and end, in Linux 6.3 and in some before.
            return _NONE if bits >> 2 & 2 else bits & 3
        return (bits & 7) - 2 if bits & 7 >= 2 else _NONE


def _cfa(sp_reg: int, offset: int) -> bytes:
    """How the stack pointer of the caller is found."""
    if sp_reg in _DWARF and offset >= 0:
        return bytes((_DEF_CFA, _DWARF[sp_reg])) + _uleb(offset)
    if sp_reg in _DWARF:
        place = bytes((_OP_BREG + _DWARF[sp_reg],)) + _sleb(offset)
    elif sp_reg == _BP_INDIRECT:
        place = bytes((_OP_BREG + _RBP,)) + _sleb(offset) + bytes((_OP_DEREF,))
    elif sp_reg == _SP_INDIRECT:
        place = bytes((_OP_BREG + _RSP, 0, _OP_DEREF, _OP_CONSTS)) + _sleb(offset)
        place += bytes((_OP_PLUS,))
    else:
        return b""
    return bytes((_DEF_CFA_EXPRESSION,)) + _uleb(len(place)) + place


def _saved(register: int, offset: int) -> bytes:
    """The register is saved at this distance from the CFA."""
    if offset % _DATA_ALIGN:
        return bytes((_UNDEFINED_RULE, register))
    return bytes((_OFFSET_SF, register)) + _sleb(offset // _DATA_ALIGN)


def _advance(distance: int) -> bytes:
    if distance < 1 << 8:
        return bytes((_ADVANCE_LOC1, distance))
    if distance < 1 << 16:
        return bytes((_ADVANCE_LOC2,)) + distance.to_bytes(2, "little")
    return bytes((_ADVANCE_LOC4,)) + distance.to_bytes(4, "little")


def _framed(content: bytes) -> bytes:
    """With the length before it, and padding (which says nothing) after it."""
    content += bytes(-(len(content) + 4) % 8)
    return struct.pack("<I", len(content)) + content


def _uleb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _sleb(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)
