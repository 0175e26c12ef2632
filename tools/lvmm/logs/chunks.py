"""Chunks in a source: one by one, and compact tables of them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from lvmm.errors import EnvironmentProblem
from lvmm.logs.chunk_runs import CHUNK_MAX, CRC_OFFSET, HEADER_SIZE, ChunkRun, intact_chunk
from lvmm.logs.counts import LogPart
from lvmm.logs.crc import crc32c
from lvmm.logs.errors import READABLE_VERSIONS
from lvmm.logs.layout import CHUNK_ALIGN, ChunkHeader
from lvmm.logs.source import Source

_PART = 4 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk in a source. `recovered`: it was still being written, and has been closed by us."""

    source: Source
    offset: int
    header: ChunkHeader
    recovered: bool = False

    @property
    def size(self) -> int:
        """Bytes with header and padding."""
        return HEADER_SIZE + self.header.payload_len + self.padding

    @property
    def padding(self) -> int:
        """Zero bytes after the payload."""
        return -(HEADER_SIZE + self.header.payload_len) % CHUNK_ALIGN

    @property
    def next_event(self) -> int:
        """Index of the event after its last one."""
        return self.header.first_event + self.header.event_count

    def payload(self) -> bytes:
        """The payload."""
        return self.source.read(self.offset + HEADER_SIZE, self.header.payload_len)

    def pack(self) -> bytes:
        """The chunk as it stands in a file."""
        return self.header.pack() + self.payload() + bytes(self.padding)

    def repacked(self, *, seq: int, first_event: int) -> bytes:
        """Likewise, with other numbers."""
        return pack_chunk(replace(self.header, seq=seq, first_event=first_event), self.payload())


@dataclass(frozen=True, slots=True)
class TableRun:
    """Chunks of a table, the index of the first one and that after the last: ascending in place,
    with consecutive numbers from `seq` on. `size` in bytes with padding.
    """

    seq: int
    start: int
    stop: int
    size: int
    events: int

    @property
    def next_seq(self) -> int:
        """The number after the last one's."""
        return self.seq + self.stop - self.start


class ChunkTable(Sequence[Chunk]):
    """Chunks of one source in little more than 8 bytes each, as a log may have a great many."""

    def __init__(self, source: Source) -> None:
        """An empty table."""
        self._source = source
        self._offsets = array("Q")
        self._recovered: dict[int, Chunk] = {}  # those that do not stand so in the source
        # Of each run: its first number, first index, bytes, events.
        self._seqs, self._starts = array("Q"), array("Q")
        self._sizes, self._events = array("Q"), array("Q")

    def append(self, chunk: Chunk) -> None:
        """Add a chunk of the source at the end."""
        if chunk.recovered:
            self._recovered[len(self)] = chunk
        events = chunk.header.event_count
        self._extend(array("Q", [chunk.offset]), chunk.header.seq, chunk.size, events)

    def append_run(self, run: ChunkRun) -> None:
        """Likewise, those of a run."""
        self._extend(run.offsets, run.first.seq, run.end - run.offset, run.events)

    def append_from(self, table: ChunkTable, run: TableRun) -> None:
        """Likewise, those of a run in another table of the same source."""
        self._extend(table._offsets[run.start : run.stop], run.seq, run.size, run.events)

    def _extend(self, offsets: array[int], seq: int, size: int, events: int) -> None:
        follows = (
            self._starts
            and seq == self._seqs[-1] + len(self) - self._starts[-1]
            and offsets[0] > self._offsets[-1]
        )
        if not follows:
            self._seqs.append(seq)
            self._starts.append(len(self))
            self._sizes.append(0)
            self._events.append(0)
        self._offsets += offsets
        self._sizes[-1] += size
        self._events[-1] += events

    @property
    def size(self) -> int:
        """Bytes of all chunks, with padding."""
        return sum(self._sizes)

    @property
    def event_count(self) -> int:
        """Events in all of them."""
        return sum(self._events)

    def runs(self) -> Iterator[TableRun]:
        """The table's runs, as long as can be."""
        for number, start in enumerate(self._starts):
            stop = self._starts[number + 1] if number + 1 < len(self._starts) else len(self)
            size, events = self._sizes[number], self._events[number]
            yield TableRun(self._seqs[number], start, stop, size, events)

    def parts(self) -> Iterator[LogPart]:
        """All chunks, in parts of a few megabytes."""
        for run in self.runs():
            index = run.start
            while index < run.stop:
                if index in self._recovered:
                    offset = self._offsets[index]
                    part = LogPart(self[index].pack(), offset, array("Q", [offset]))
                else:
                    part = self._part(index, run.stop)
                yield part
                index += len(part.offsets)

    def _part(self, index: int, stop: int) -> LogPart:
        """From one chunk of a run on, whole chunks."""
        base, last = self._offsets[index], self._offsets[stop - 1]
        data = self._source.read(base, min(_PART, last + CHUNK_MAX - base))
        end = base + len(data)
        if end < last + CHUNK_MAX:
            # The last one that begins in the data may be cut off, unless the source ends there.
            begun = bisect_right(self._offsets, end, index, stop) - 1
            stop = max(begun, index + 1) if end < self._source.size else stop
        stop = min([stop, *(number for number in self._recovered if number > index)])
        return LogPart(data, base, self._offsets[index:stop])

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...

    @overload
    def __getitem__(self, index: slice) -> list[Chunk]: ...

    def __getitem__(self, index: int | slice) -> Chunk | list[Chunk]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        offset = self._offsets[index]
        recovered = self._recovered.get(index % len(self))
        if recovered is not None:
            return recovered
        data = self._source.read(offset, HEADER_SIZE)
        if len(data) < HEADER_SIZE:
            raise EnvironmentProblem(f"{self._source.name}: it became shorter while it was read")
        return Chunk(self._source, offset, ChunkHeader.unpack(data))

    def __iter__(self) -> Iterator[Chunk]:
        return (self[index] for index in range(len(self)))


def chunk_crc(header: ChunkHeader, payload: bytes) -> int:
    """The CRC-32C that belongs into the header."""
    return crc32c(payload, crc32c(header.pack()[:CRC_OFFSET]))


def pack_chunk(header: ChunkHeader, payload: bytes) -> bytes:
    """A chunk as it stands in a file, with its length, checksum and padding."""
    header = replace(header, payload_len=len(payload))
    header = replace(header, crc32c=chunk_crc(header, payload))
    data = header.pack() + payload
    return data + bytes(-len(data) % CHUNK_ALIGN)


def read_chunk(source: Source, offset: int) -> Chunk | None:
    """The chunk at `offset` of the source; None when there is no intact one that can be read."""
    chunk = read_any_chunk(source, offset)
    return chunk if chunk and chunk.header.format_version in READABLE_VERSIONS else None


def read_any_chunk(source: Source, offset: int) -> Chunk | None:
    """Likewise, of any format version whose chunks look alike."""
    header = intact_chunk(source.read(offset, CHUNK_MAX), 0)
    return Chunk(source, offset, header) if header is not None else None
