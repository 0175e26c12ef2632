"""The modules of a running 64-bit Linux, found in its memory: name, place and symbols.

The layout of `struct module` depends on the kernel's version and configuration. Only its beginning
is stable: state, list, name. The rest is recognised by what it must look like.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvmm.guest_view import PAGE, AddressSpace
from lvmm.symbols import SymbolTable

_LIST = 8  # offset of `list` in struct module; the name follows it
_NAME = 24
_NAME_SIZE = 56
_SEARCHED = 0x800  # how much of a struct module is looked at
_MODULES_MAX = 1000
_SIZE_MAX = 64 << 20
_SYMBOLS_MAX = 100_000
_ORC_MAX = 1 << 20
# MODULES_VADDR and MODULES_END of x86-64 (Documentation/x86/x86_64/mm.rst).
_SPACE_START = 0xFFFF_FFFF_C000_0000
_SPACE_END = 0xFFFF_FFFF_FF00_0000
_KALLSYMS = struct.Struct("<QIxxxxQ")  # struct mod_kallsyms
_SYMBOL = struct.Struct("<IBBHQQ")  # Elf64_Sym


@dataclass(frozen=True)
class OrcPlace:
    """Where a module's ORC is: addresses of both tables, and how many entries each has."""

    ips: int
    entries: int
    count: int


@dataclass(frozen=True)
class Module:
    """A module; the place is that of the part that was asked for. `symbols` and `orc`, the table
    for unwinding, may be None.
    """

    name: str
    base: int
    size: int
    symbols: SymbolTable | None
    orc: OrcPlace | None = None


def in_module_space(address: int) -> bool:
    """Whether Linux may have put a module there."""
    return _SPACE_START <= address < _SPACE_END


def find_module(space: AddressSpace, list_head: int, address: int) -> Module | None:
    """The module that has `address`; `list_head` is where the kernel's symbol `modules` is."""
    for data in _entries(space, list_head):
        part = _part_with(data, lambda base, size: base <= address < base + size)
        if part is not None:
            return Module(_name(data), *part, _symbols(space, data, part))
    return None


def all_modules(space: AddressSpace, list_head: int) -> Iterator[Module]:
    """All modules, each with the part that its code is in."""
    for data in _entries(space, list_head):
        part = _part_with(data, lambda _base, size: size > 0)
        if part is not None:
            yield Module(_name(data), *part, _symbols(space, data, part), _orc(data))


def _entries(space: AddressSpace, list_head: int) -> Iterator[bytes]:
    """The beginning of each struct module of the list."""
    entry = space.read_u64(list_head)
    for _ in range(_MODULES_MAX):
        if entry is None or entry == list_head:
            return
        yield space.read(entry - _LIST, _SEARCHED)
        entry = space.read_u64(entry)


def _name(data: bytes) -> str:
    return data[_NAME : _NAME + _NAME_SIZE].split(b"\0")[0].decode("ascii", "replace")


def _quadwords(data: bytes) -> tuple[int, ...]:
    return struct.unpack_from(f"<{len(data) // 8}Q", data)


def _part_with(data: bytes, wanted: Callable[[int, int], bool]) -> tuple[int, int] | None:
    """Base and size of the first part of a module that is wanted: a base, then a 32-bit size."""
    words = _quadwords(data)
    for base, following in itertools.pairwise(words):
        size = following & 0xFFFF_FFFF
        fits = base % PAGE == 0 and in_module_space(base) and size <= _SIZE_MAX
        if fits and wanted(base, size):
            return base, size
    return None


def _symbols(space: AddressSpace, data: bytes, part: tuple[int, int]) -> SymbolTable | None:
    """The module's symbols: one of the pointers is `kallsyms`, to (symbols, count, names).

    While the module initialises, that is in its init part, later in struct module itself.
    """
    for pointer in _quadwords(data):
        if not in_module_space(pointer) or pointer % 8:
            continue
        found = space.read(pointer, _KALLSYMS.size)
        if len(found) < _KALLSYMS.size:
            continue
        table, count, names = _KALLSYMS.unpack(found)
        if in_module_space(table) and in_module_space(names) and 1 < count < _SYMBOLS_MAX:
            entries = space.read(table, count * _SYMBOL.size)
            if len(entries) == count * _SYMBOL.size and not any(entries[: _SYMBOL.size]):
                return _read_symbols(space, entries, names, part)
    return None


def _orc(data: bytes) -> OrcPlace | None:
    """A 32-bit count and two pointers, the tables of which follow each other in the module."""
    for count, ips, entries in zip(*(_quadwords(data)[n:] for n in range(3)), strict=False):
        count &= 0xFFFF_FFFF
        apart = entries - ips - 4 * count
        if in_module_space(ips) and 0 < count < _ORC_MAX and 0 <= apart < PAGE:
            return OrcPlace(ips, entries, count)
    return None


def _read_symbols(
    space: AddressSpace, entries: bytes, names: int, part: tuple[int, int]
) -> SymbolTable:
    base, size = part
    found = []
    for name, _, _, section, value, _ in _SYMBOL.iter_unpack(entries):
        if section and base <= value < base + size:
            text = space.read(names + name, 128).split(b"\0")[0].decode("ascii", "replace")
            if text:
                found.append((value, text))
    return SymbolTable(found, base, base + size)
