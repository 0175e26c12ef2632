"""The tables of a DMA profile: keys are taken one by one, and checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

U32 = 0xFFFF_FFFF


class ProfileError(Exception):
    """A profile that cannot be compiled; the message names the file, the line and the key."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a profile comes from; `lines` has the line of each key, as of profile_lines.py."""

    name: str
    lines: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def error(self, path: str, problem: str) -> ProfileError:
        """Return the error about the key at a path; of one that is missing, its table's line."""
        known = path
        while known and known not in self.lines:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        line = f":{self.lines.get(known, 1)}" if self.lines else ""
        return ProfileError(f"{self.name}{line}: {path}: {problem}")


class Table:
    """A TOML table whose keys are taken one by one; close() refuses what nobody took."""

    def __init__(self, source: Source, path: str, values: dict[str, Any]) -> None:
        self._source = source
        self._path = path
        self._values = dict(values)

    def error(self, key: str, problem: str) -> ProfileError:
        """Return the error that says what is wrong with a key."""
        return self._source.error(f"{self._path}{key}", problem)

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise self.error(key, "missing")
        return self._values.pop(key)

    def has(self, key: str) -> bool:
        """Tell whether an optional key is there and not taken yet."""
        return key in self._values

    def text(self, key: str, pattern: str) -> str:
        """Take a string that matches the pattern in full."""
        value = self._take(key)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise self.error(key, f"not a string of the form {pattern}")
        return value

    def number(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """Take an integer in [low, high]."""
        if default is not None and key not in self._values:
            return default
        return self.check_number(key, self._take(key), low, high)

    def check_number(self, key: str, value: object, low: int, high: int) -> int:
        """Return value if it is an integer in [low, high]."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(key, "not an integer")
        if not low <= value <= high:
            raise self.error(key, f"{value:#x} is outside {low:#x} to {high:#x}")
        return value

    def power_of_two(self, key: str, low: int, high: int) -> int:
        """Take an integer in [low, high] that is a power of two."""
        value = self.number(key, low, high)
        if value & (value - 1):
            raise self.error(key, f"{value:#x} is not a power of two")
        return value

    def flag(self, key: str) -> bool:
        """Take a boolean; false when it is not there."""
        value = self._values.pop(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "not true or false")
        return value

    def numbers(self, key: str, low: int, high: int) -> list[int]:
        """Take a list of at least one integer in [low, high]."""
        values = self._take(key)
        if not isinstance(values, list) or not values:
            raise self.error(key, "not a list of integers")
        return [self.check_number(f"{key}[{i}]", v, low, high) for i, v in enumerate(values)]

    def table(self, key: str) -> Table:
        """Take a table."""
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.error(key, "not a table")
        return Table(self._source, f"{self._path}{key}.", value)

    def tables(self, key: str) -> list[Table]:
        """Take a list of at least one table."""
        values = self._take(key)
        if not isinstance(values, list) or not values:
            raise self.error(key, "not a list of tables")
        if not all(isinstance(value, dict) for value in values):
            raise self.error(key, "not a list of tables")
        return [Table(self._source, f"{self._path}{key}[{i}].", v) for i, v in enumerate(values)]

    def close(self) -> None:
        """Refuse the keys that are left."""
        for key in self._values:
            raise self.error(key, "unknown key")


def take_register(table: Table, key: str, register_size: int) -> int:
    """Take the offset of a 32-bit register."""
    register = table.number(key, 0, register_size - 4)
    if register % 4:
        raise table.error(key, f"{register:#x} is not a multiple of 4")
    return register


def take_register_bits(table: Table, key: str, register_size: int) -> str:
    """Take { register, mask } and return the C initialiser of a struct dma_register_bits."""
    bits = table.table(key)
    register = take_register(bits, "register", register_size)
    mask = bits.number("mask", 1, U32)
    bits.close()
    return f"{{{register:#x}, {mask:#x}}}"


class Bit(NamedTuple):
    """Bits of one byte of a descriptor."""

    offset: int
    mask: int

    def __str__(self) -> str:
        """Return the C initialiser of a struct dma_bit."""
        return f"{{{self.offset}, {self.mask:#x}}}"


class Field(NamedTuple):
    """Some bytes of a descriptor."""

    offset: int
    width: int

    def __str__(self) -> str:
        """Return the C initialiser of a struct dma_field."""
        return f"{{{self.offset}, {self.width}}}"


def take_bit(table: Table, key: str, descriptor_size: int) -> Bit:
    """Take { offset, mask } of a byte."""
    bit = table.table(key)
    offset = bit.number("offset", 0, descriptor_size - 1)
    mask = bit.number("mask", 1, 0xFF)
    bit.close()
    return Bit(offset, mask)


def take_field(table: Table, key: str, descriptor_size: int, widths: Iterable[int]) -> Field:
    """Take { offset, width } in bytes."""
    field = table.table(key)
    offset = field.number("offset", 0, descriptor_size - 1)
    width = field.number("width", 1, descriptor_size)
    if width not in widths:
        raise field.error("width", f"{width} is none of {', '.join(map(str, widths))}")
    if offset + width > descriptor_size:
        raise field.error("width", f"ends after the descriptor's {descriptor_size} bytes")
    field.close()
    return Field(offset, width)


def c_flag(value: bool) -> str:
    """Return the C word for a truth value."""
    return str(value).lower()
