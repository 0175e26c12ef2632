"""An ELF file of symbols at fixed addresses, and of how to unwind the stack, for debuggers."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# ELF-64 object file format, version 1.5; System V ABI, AMD64 supplement.
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
_ET_EXEC, _EM_X86_64, _EV_CURRENT = 2, 62, 1
_SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS = 1, 2, 3, 8
_SHF_ALLOC_EXECINSTR = 6
_GLOBAL_FUNC = 1 << 4 | 2


@dataclass(frozen=True)
class Part:
    """An image at [start, end): its name, and its symbols as (address, name)."""

    name: str
    start: int
    end: int
    symbols: Sequence[tuple[int, str]]


def write_symbol_file(path: Path, parts: Sequence[Part], frames: bytes = b"") -> int:
    """Writes the file, whole or not at all; returns how many symbols it has. Raises OSError.

    `frames` is the content of a .debug_frame section.
    """
    names, strings = _Strings(), _Strings()
    symbols = bytearray(_SYMBOL.size)  # the first is no symbol
    sections = [bytes(_SECTION.size)]  # nor is the first section one
    for index, part in enumerate(parts, 1):
        sections.append(
            _SECTION.pack(
                names.add(part.name),
                _SHT_NOBITS,
                _SHF_ALLOC_EXECINSTR,
                part.start,
                0,
                part.end - part.start,
                0,
                0,
                16,
                0,
            )
        )
        end = part.end
        for address, name in sorted(part.symbols, reverse=True):
            size = max(end - address, 0)
            symbols += _SYMBOL.pack(strings.add(name), _GLOBAL_FUNC, 0, index, address, size)
            end = address
    titles = (".symtab", ".strtab", ".shstrtab", ".debug_frame")
    symtab_name, strtab_name, shstrtab_name, frames_name = map(names.add, titles)
    at = _HEADER.size
    tables = bytearray()
    for title, kind, content, link, info, entry_size in (
        (symtab_name, _SHT_SYMTAB, bytes(symbols), len(parts) + 2, 1, _SYMBOL.size),
        (strtab_name, _SHT_STRTAB, strings.content, 0, 0, 0),
        (shstrtab_name, _SHT_STRTAB, names.content, 0, 0, 0),
        (frames_name, _SHT_PROGBITS, frames, 0, 0, 0),
    ):
        place = at + len(tables)
        sections.append(
            _SECTION.pack(title, kind, 0, 0, place, len(content), link, info, 8, entry_size)
        )
        tables += content + bytes(-len(content) % 8)
    header = _HEADER.pack(
        _IDENT,
        _ET_EXEC,
        _EM_X86_64,
        _EV_CURRENT,
        0,
        0,
        at + len(tables),
        0,
        _HEADER.size,
        0,
        0,
        _SECTION.size,
        len(sections),
        len(parts) + 3,
    )
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(header + tables + b"".join(sections))
    fresh.replace(path)
    return len(symbols) // _SYMBOL.size - 1


class _Strings:
    """A string table."""

    def __init__(self) -> None:
        self._bytes = bytearray(1)

    def add(self, text: str) -> int:
        """The offset of the text, with its terminator, in the table."""
        offset = len(self._bytes)
        self._bytes += text.encode() + b"\0"
        return offset

    @property
    def content(self) -> bytes:
        return bytes(self._bytes)
