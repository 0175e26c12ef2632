"""Writes an ELF core file: notes, and memory that is found at linear and physical addresses.

ELF-64 object file format, version 1.5; System V ABI, AMD64 supplement; core(5).
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from lvmm.guest_view import PAGE, Physical
from lvmm.logs.printing import Progress

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NOTE = struct.Struct("<III")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
_ET_CORE, _EM_X86_64, _EV_CURRENT = 4, 62, 1
_PT_LOAD, _PT_NOTE = 1, 4
_READ_WRITE_EXECUTE = 7
_NOTE_ALIGN = 4
# As in the dumps that Linux makes of itself: by that crash(8) tells them from those of netdump, in
# which it looks for neither the kernel's place (KASLR) nor the CPU's registers.
_NO_ALIGN = 0
# As many program headers do not fit into the header's field: section 0 has their number.
_PN_XNUM = 0xFFFF

_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)


@dataclass(frozen=True)
class Note:
    """A note: who defines it, its type there, and its content."""

    name: str
    kind: int
    content: bytes

    def pack(self) -> bytes:
        """The note as it stands in a file."""
        name = self.name.encode() + b"\0"
        header = _NOTE.pack(len(name), len(self.content), self.kind)
        return header + _aligned(name) + _aligned(self.content)


@dataclass(frozen=True)
class Run:
    """`size` bytes of RAM at a physical address that are seen at a linear one."""

    linear: int
    physical: int
    size: int


def write_core(
    file: IO[bytes],
    notes: Sequence[Note],
    runs: Sequence[Run],
    memory: Physical,
    ranges: Sequence[tuple[int, int]],
) -> None:
    """Writes a core whose memory is all of `ranges` (start and end), and is seen as `runs` say.

    Each run lies in one of the ranges. Pages of zeros become holes of the file.
    """
    count = len(runs) + 1
    note_data = b"".join(note.pack() for note in notes)
    notes_at = _HEADER.size + _PROGRAM_HEADER.size * count
    extended = count >= _PN_XNUM
    section_at = -(-(notes_at + len(note_data)) // 8) * 8 if extended else 0
    end = section_at + _SECTION.size if extended else notes_at + len(note_data)
    places = _places(ranges, -(-end // PAGE) * PAGE)
    file.write(
        _HEADER.pack(
            _IDENT,
            _ET_CORE,
            _EM_X86_64,
            _EV_CURRENT,
            0,
            _HEADER.size,
            section_at,
            0,
            _HEADER.size,
            _PROGRAM_HEADER.size,
            _PN_XNUM if extended else count,
            _SECTION.size if extended else 0,
            1 if extended else 0,
            0,
        )
    )
    file.write(_PROGRAM_HEADER.pack(_PT_NOTE, 0, notes_at, 0, 0, len(note_data), 0, _NOTE_ALIGN))
    for run in runs:
        at = _place(places, run)
        file.write(
            _PROGRAM_HEADER.pack(
                _PT_LOAD,
                _READ_WRITE_EXECUTE,
                at,
                run.linear,
                run.physical,
                run.size,
                run.size,
                _NO_ALIGN,
            )
        )
    file.write(note_data)
    if extended:
        file.seek(section_at)
        file.write(_SECTION.pack(0, 0, 0, 0, 0, 0, 0, count, 0, 0))
    _write_memory(file, memory, places)


@dataclass(frozen=True)
class _Place:
    """Where a range of memory is in the file."""

    start: int
    end: int
    offset: int


def _places(ranges: Sequence[tuple[int, int]], at: int) -> list[_Place]:
    places = []
    for start, end in ranges:
        places.append(_Place(start, end, at))
        at += end - start
    return places


def _place(places: Sequence[_Place], run: Run) -> int:
    for place in places:
        if place.start <= run.physical and run.physical + run.size <= place.end:
            return place.offset + run.physical - place.start
    raise ValueError(f"{run} is in no range")


def _write_memory(file: IO[bytes], memory: Physical, places: Sequence[_Place]) -> None:
    total = sum(place.end - place.start for place in places)
    done = 0
    with Progress("core", total, sys.stderr) as progress:
        for place in places:
            for at in range(place.start, place.end, _BLOCK):
                wanted = min(_BLOCK, place.end - at)
                for offset, part in _filled(memory.read(at, wanted)):
                    file.seek(place.offset + at - place.start + offset)
                    file.write(part)
                done += wanted
                progress.at(done)
    file.flush()
    if places:
        last = places[-1]
        os.ftruncate(file.fileno(), last.offset + last.end - last.start)


def _filled(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts of a block, whole pages, that are not all zeros."""
    if block == _ZEROS[: len(block)]:
        return
    first = None
    for at in range(0, len(block), PAGE):
        page = block[at : at + PAGE]
        if page == _ZEROS[: len(page)]:
            if first is not None:
                yield first, block[first:at]
            first = None
        elif first is None:
            first = at
    if first is not None:
        yield first, block[first:]


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % _NOTE_ALIGN)
