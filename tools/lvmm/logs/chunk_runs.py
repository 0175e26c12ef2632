"""Runs of chunks: intact, of one recording, one behind the other in place and number."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvmm.logs.crc import crc32c
from lvmm.logs.layout import CHUNK_ALIGN, CHUNK_MAGIC, CHUNK_PAYLOAD_MAX, ChunkHeader
from lvmm.logs.native import library
from lvmm.logs.source import Source

MAGIC = CHUNK_MAGIC.to_bytes(4, "little")
HEADER_SIZE = ChunkHeader.STRUCT.size
CHUNK_MAX = HEADER_SIZE + CHUNK_PAYLOAD_MAX
CRC_OFFSET = HEADER_SIZE - 4

_WINDOW = 4 << 20
_FIRST_WINDOW = 2 * CHUNK_MAX  # what begins like a chunk is often none
_RUN_MAX = _WINDOW // HEADER_SIZE


@dataclass(frozen=True)
class ChunkRun:
    """The places of the chunks in their source, and the header of the first.

    `last_size`: bytes of the last one, without its padding. `events` in all of them.
    """

    offsets: array[int]
    first: ChunkHeader
    last_size: int
    events: int

    @property
    def offset(self) -> int:
        """Where the first one is."""
        return self.offsets[0]

    @property
    def first_end(self) -> int:
        """Where the first one ends, without its padding."""
        return self.offset + HEADER_SIZE + self.first.payload_len

    @property
    def end(self) -> int:
        """Where the next chunk should be."""
        return self.end_of_data + -self.last_size % CHUNK_ALIGN

    @property
    def end_of_data(self) -> int:
        """Where the last one ends, without its padding."""
        return self.offsets[-1] + self.last_size


FindRun = Callable[[bytes, int, int], ChunkRun | None]


def chunk_in(data: bytes, at: int) -> tuple[ChunkHeader, bytes] | None:
    """Header and payload of what stands at a place; None when it is cut off."""
    end = at + HEADER_SIZE
    if end > len(data):
        return None
    header = ChunkHeader.unpack(data[at:end])
    payload = data[end : end + header.payload_len]
    return (header, payload) if len(payload) == header.payload_len else None


def intact_chunk(data: bytes, at: int) -> ChunkHeader | None:
    """The header of the chunk at a place; None when there is no whole one with the right CRC."""
    if not data.startswith(MAGIC, at):
        return None
    chunk = chunk_in(data, at)
    if chunk is None:
        return None
    header, payload = chunk
    if header.payload_len > CHUNK_PAYLOAD_MAX:
        return None
    crc = crc32c(payload, crc32c(data[at : at + CRC_OFFSET]))
    return header if crc == header.crc32c else None


def find_run(data: bytes, at: int, base: int) -> ChunkRun | None:
    """The run that begins at a place of the data, which begin at the place `base` of the source."""
    first = header = intact_chunk(data, at)
    if first is None:
        return None
    offsets, events, size = array("Q"), 0, 0
    while header is not None and _follows(header, first, len(offsets)):
        offsets.append(base + at)
        events += header.event_count
        size = HEADER_SIZE + header.payload_len
        at += size + -size % CHUNK_ALIGN
        header = intact_chunk(data, at) if len(offsets) < _RUN_MAX else None
    return ChunkRun(offsets, first, size, events)


def _follows(header: ChunkHeader, first: ChunkHeader, count: int) -> bool:
    return (header.recording_id, header.format_version, header.seq) == (
        *(first.recording_id, first.format_version),
        first.seq + count,
    )


class _Run(ctypes.Structure):
    """struct log_chunks_run."""

    _fields_ = (
        ("first", ctypes.c_char * HEADER_SIZE),
        ("count", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
        ("events", ctypes.c_uint64),
    )


def fast_find_run() -> FindRun | None:
    """find_run() in C, for one thread; None where it cannot be built."""
    found = library()
    if found is None:
        return None
    function = found.log_chunks_run
    pointer, u64 = ctypes.c_void_p, ctypes.c_uint64
    function.argtypes = [pointer, u64, u64, pointer, ctypes.c_uint32, ctypes.POINTER(_Run)]
    function.restype = ctypes.c_uint32
    places = (ctypes.c_uint64 * _RUN_MAX)()

    def find(data: bytes, at: int, base: int) -> ChunkRun | None:
        run = _Run()
        start = ctypes.cast(ctypes.c_char_p(data), pointer).value or 0
        where = ctypes.byref(run)
        count = function(start + at, max(len(data) - at, 0), base + at, places, _RUN_MAX, where)
        if not count:
            return None
        offsets = array("Q")
        offsets.frombytes(memoryview(places).cast("B")[: count * offsets.itemsize])
        first = ChunkHeader.unpack(bytes(run)[:HEADER_SIZE])
        return ChunkRun(offsets, first, run.last, run.events)

    return find


class _Window:
    """The part of a source that is looked at: from a place on, more and more as chunks follow."""

    def __init__(self, source: Source, end: int) -> None:
        self._source = source
        self._end = end
        self._find = fast_find_run() or find_run
        self._base = 0
        self._data = b""
        self._size = _FIRST_WINDOW

    def run(self, at: int) -> ChunkRun | None:
        """The run that begins at this place of the source, as far as it is in sight."""
        left = self._base + len(self._data) - at
        if not (self._base <= at and (left >= CHUNK_MAX or at + left == self._end)):
            goes_on = self._base < at < self._base + len(self._data) + CHUNK_MAX
            self._size = min(4 * self._size, _WINDOW) if goes_on else _FIRST_WINDOW
            self._data = self._source.read(at, min(self._size, self._end - at))
            self._base = at
        return self._find(self._data, at - self._base, self._base)


def find_runs(source: Source, start: int, end: int) -> Iterator[ChunkRun]:
    """All chunks between two places of a source, in the order of their places: from one to the next
    where they follow each other, else by a search for the magic.

    Bytes that are gone can let a chunk begin with the last ones of another, if those are the magic:
    both are there. What is in the middle of a chunk is its content.
    """
    window = _Window(source, end)
    at = low = last_end = start  # where the next one should be; whence it can begin, and end
    while low < end:
        run = window.run(at) if at < end else None
        if run is None:
            hits = source.find(MAGIC, low, end, 1)
            runs = (found for hit in hits if (found := window.run(hit)))
            run = next((found for found in runs if found.first_end > last_end), None)
        if run is None:
            return
        yield run
        at = run.end
        low, last_end = run.offsets[-1] + 1, run.end_of_data
