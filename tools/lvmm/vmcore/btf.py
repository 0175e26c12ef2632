"""BTF, the type information that a Linux kernel carries in its own memory.

Documentation/bpf/btf.rst of the kernel describes it. A type is read when it is asked for.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F
_TYPE = struct.Struct("<III")


class BtfError(Exception):
    """The data is no BTF, or damaged."""


class BtfKind(enum.IntEnum):
    """Kinds of types."""

    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# What follows a type: bytes, and bytes for each of its `vlen` entries.
_TAIL = {
    BtfKind.INT: (4, 0),
    BtfKind.ARRAY: (12, 0),
    BtfKind.STRUCT: (0, 12),
    BtfKind.UNION: (0, 12),
    BtfKind.ENUM: (0, 8),
    BtfKind.FUNC_PROTO: (0, 8),
    BtfKind.VAR: (4, 0),
    BtfKind.DATASEC: (0, 12),
    BtfKind.DECL_TAG: (4, 0),
    BtfKind.ENUM64: (0, 12),
}


@dataclass(frozen=True)
class BtfType:
    """A type. `size` in bytes or the number of another type, as the kind has it; `flag` is the
    kind's flag; `tail` is where its own data begins.
    """

    kind: BtfKind
    name: str
    vlen: int
    flag: bool
    size: int
    tail: int


class Btf:
    """The types of a kernel, numbered from 1; 0 is void."""

    def __init__(self, data: bytes) -> None:
        """Raises BtfError."""
        try:
            magic, version, _, header_len, type_off, type_len, str_off, str_len = (
                _HEADER.unpack_from(data)
            )
        except struct.error:
            raise BtfError("BTF is cut short") from None
        if magic != _MAGIC or version != 1:
            raise BtfError("there is no BTF of version 1")
        types, strings = header_len + type_off, header_len + str_off
        self._data = data[: types + type_len]
        self._strings = data[strings : strings + str_len]
        if len(self._data) < types + type_len or len(self._strings) < str_len:
            raise BtfError("BTF is cut short")
        self._offsets = self._find_types(types)

    def __len__(self) -> int:
        return len(self._offsets)

    def get(self, number: int) -> BtfType:
        """A type by its number. Raises BtfError."""
        if not 1 <= number <= len(self._offsets):
            raise BtfError(f"BTF has no type {number}")
        at = self._offsets[number - 1]
        name, info, size = _TYPE.unpack_from(self._data, at)
        kind = BtfKind(info >> 24 & 0x1F)
        return BtfType(kind, self.text(name), info & 0xFFFF, info >> 31 != 0, size, at + _TYPE.size)

    def words(self, kind_of: BtfType) -> list[tuple[int, ...]]:
        """The entries that follow a type, as unsigned 32-bit numbers."""
        once, each = _TAIL.get(kind_of.kind, (0, 0))
        if once:
            return [struct.unpack_from(f"<{once // 4}I", self._data, kind_of.tail)]
        entry = struct.Struct(f"<{each // 4}I")
        end = kind_of.tail + each * kind_of.vlen
        return list(entry.iter_unpack(self._data[kind_of.tail : end])) if each else []

    def text(self, offset: int) -> str:
        """The string at an offset; empty for none."""
        end = self._strings.find(b"\0", offset)
        return self._strings[offset : end if end >= 0 else None].decode("utf-8", "replace")

    def _find_types(self, at: int) -> list[int]:
        offsets = []
        try:
            while at < len(self._data):
                offsets.append(at)
                _, info, _ = _TYPE.unpack_from(self._data, at)
                once, each = _TAIL.get(BtfKind(info >> 24 & 0x1F), (0, 0))
                at += _TYPE.size + once + each * (info & 0xFFFF)
        except (struct.error, ValueError):
            at = -1
        if at != len(self._data):
            raise BtfError("the types of BTF are damaged")
        return offsets
