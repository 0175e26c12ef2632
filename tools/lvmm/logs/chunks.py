"""Chunks in a source: one by one, and compact tables of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from lvmm.logs.crc import crc32c
from lvmm.logs.errors import READABLE_VERSIONS
from lvmm.logs.layout import CHUNK_ALIGN, CHUNK_MAGIC, CHUNK_PAYLOAD_MAX, ChunkHeader
from lvmm.logs.source import Source

MAGIC = CHUNK_MAGIC.to_bytes(4, "little")
HEADER_SIZE = ChunkHeader.STRUCT.size
_CRC_OFFSET = HEADER_SIZE - 4


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


class ChunkTable(Sequence[Chunk]):
    """Chunks of one source in 73 bytes each, as a log may have a great many."""

    def __init__(self, source: Source) -> None:
        """An empty table."""
        self._source = source
        self._offsets = array("Q")
        self._headers = bytearray()
        self._recovered = bytearray()
        self.size = 0
        self.event_count = 0

    def append(self, chunk: Chunk) -> None:
        """Add a chunk of the source at the end."""
        self._offsets.append(chunk.offset)
        self._headers += chunk.header.pack()
        self._recovered.append(chunk.recovered)
        self.size += chunk.size
        self.event_count += chunk.header.event_count

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
        index %= len(self)
        at = index * HEADER_SIZE
        header = ChunkHeader.unpack(bytes(self._headers[at : at + HEADER_SIZE]))
        return Chunk(self._source, offset, header, bool(self._recovered[index]))

    def __iter__(self) -> Iterator[Chunk]:
        return (self[index] for index in range(len(self)))


def chunk_crc(header: ChunkHeader, payload: bytes) -> int:
    """The CRC-32C that belongs into the header."""
    return crc32c(payload, crc32c(header.pack()[:_CRC_OFFSET]))


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
    data = source.read(offset, HEADER_SIZE)
    if len(data) < HEADER_SIZE or data[:4] != MAGIC:
        return None
    header = ChunkHeader.unpack(data)
    if header.payload_len > CHUNK_PAYLOAD_MAX:
        return None
    payload = source.read(offset + HEADER_SIZE, header.payload_len)
    if len(payload) < header.payload_len:
        return None
    if crc32c(payload, crc32c(data[:_CRC_OFFSET])) != header.crc32c:
        return None
    return Chunk(source, offset, header)
