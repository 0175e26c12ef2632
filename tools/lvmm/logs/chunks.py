"""Find the intact chunks of a recording, and say what is missing between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lvmm.logs.codec import decode_chunk
from lvmm.logs.crc import crc32c
from lvmm.logs.errors import Loss
from lvmm.logs.layout import (
    CHUNK_ALIGN,
    CHUNK_MAGIC,
    CHUNK_MAGIC_OPEN,
    CHUNK_PAYLOAD_MAX,
    FORMAT_VERSION,
    ChunkHeader,
    ChunkKind,
)
from lvmm.logs.region import Region
from lvmm.logs.source import Source
from lvmm.logs.wire import WireError

MAGIC = CHUNK_MAGIC.to_bytes(4, "little")
_OPEN_MAGIC = CHUNK_MAGIC_OPEN.to_bytes(4, "little")
_CRC_OFFSET = ChunkHeader.STRUCT.size - 4


@dataclass(frozen=True)
class Chunk:
    """A chunk in a source. `recovered`: it was still being written, and has been closed by us."""

    source: Source
    offset: int
    header: ChunkHeader
    recovered: bool = False

    @property
    def size(self) -> int:
        """Bytes with header and padding."""
        return ChunkHeader.STRUCT.size + self.header.payload_len + self.padding

    @property
    def padding(self) -> int:
        """Zero bytes after the payload."""
        return -(ChunkHeader.STRUCT.size + self.header.payload_len) % CHUNK_ALIGN

    def payload(self) -> bytes:
        """The payload."""
        return self.source.read(self.offset + ChunkHeader.STRUCT.size, self.header.payload_len)

    def pack(self) -> bytes:
        """The chunk as it stands in a file."""
        return self.header.pack() + self.payload() + bytes(self.padding)


@dataclass
class ChunkScan:
    """The chunks of one recording, in order, and what is missing."""

    chunks: list[Chunk]
    losses: list[Loss]


def chunk_crc(header: ChunkHeader, payload: bytes) -> int:
    """The CRC-32C that belongs into the header."""
    return crc32c(payload, crc32c(header.pack()[:_CRC_OFFSET]))


def read_chunk(source: Source, offset: int) -> Chunk | None:
    """The chunk at `offset` of the source; None when there is no intact one."""
    data = source.read(offset, ChunkHeader.STRUCT.size)
    if len(data) < ChunkHeader.STRUCT.size:
        return None
    header = ChunkHeader.unpack(data)
    if (
        header.magic != CHUNK_MAGIC
        or header.format_version != FORMAT_VERSION
        or header.payload_len > CHUNK_PAYLOAD_MAX
    ):
        return None
    chunk = Chunk(source, offset, header)
    payload = chunk.payload()
    if len(payload) < header.payload_len or chunk_crc(header, payload) != header.crc32c:
        return None
    return chunk


def scan_file(source: Source, recording_id: int) -> ChunkScan:
    """The chunks of a recording anywhere in a file of concatenated chunks."""
    return _scan(source, 0, source.size, source.size, recording_id, align=1)


def scan_region(region: Region) -> ChunkScan:
    """The chunks in a memory region, the one that was being written included."""
    header = region.header
    start = region.chunks_start
    end = min(start + header.chunks_size, region.source.size)
    completed = start + min(header.chunk_bytes, header.chunks_size)
    scan = _scan(region.source, start, end, completed, header.recording_id, CHUNK_ALIGN)
    _recover_open_chunk(region, scan)
    return scan


def _scan(
    source: Source, start: int, end: int, completed: int, recording_id: int, align: int
) -> ChunkScan:
    """Walk from chunk to chunk; where one is damaged, search for the next intact one.

    Up to `completed` there should be chunks; after it there may be one that was just closed.
    """
    scan = ChunkScan([], [])
    at = start
    next_seq = next_event = 0
    while at < end:
        found = read_chunk(source, at)
        if found is None or not _follows(found, recording_id, next_seq):
            if at >= completed:
                break
            found = _next_chunk(source, at, completed, recording_id, next_seq, align)
        if found is None:
            scan.losses.append(Loss(at, completed - at, None, "damaged or cut short"))
            break
        if found.offset > at or found.header.seq > next_seq:
            missing = found.header.first_event - next_event
            size = found.offset - at
            scan.losses.append(Loss(at, size, missing, "damaged" if size else "missing chunks"))
        scan.chunks.append(found)
        at = found.offset + found.size
        next_seq = found.header.seq + 1
        next_event = found.header.first_event + found.header.event_count
    return scan


def _follows(chunk: Chunk, recording_id: int, next_seq: int) -> bool:
    return chunk.header.recording_id == recording_id and chunk.header.seq >= next_seq


def _next_chunk(
    source: Source, at: int, end: int, recording_id: int, next_seq: int, align: int
) -> Chunk | None:
    for hit in source.find(MAGIC, at + align, end, align):
        chunk = read_chunk(source, hit)
        if chunk is not None and _follows(chunk, recording_id, next_seq):
            return chunk
    return None


def _recover_open_chunk(region: Region, scan: ChunkScan) -> None:
    """Close the chunk that was being written when the machine stopped."""
    payload_len, event_count = region.open_chunk
    offset = region.chunks_start + region.header.chunk_bytes
    last = scan.chunks[-1] if scan.chunks else None
    if not event_count or (last is not None and last.offset >= offset):
        return  # none, or closed already, and the region's header was not brought up to date
    data = region.source.read(offset, ChunkHeader.STRUCT.size)
    if len(data) == ChunkHeader.STRUCT.size and payload_len <= CHUNK_PAYLOAD_MAX:
        header = replace(
            ChunkHeader.unpack(data),
            magic=CHUNK_MAGIC,
            payload_len=payload_len,
            event_count=event_count,
        )
        chunk = Chunk(region.source, offset, header, recovered=True)
        payload = chunk.payload()
        chunk = replace(chunk, header=replace(header, crc32c=chunk_crc(header, payload)))
        if data[:4] == _OPEN_MAGIC and _sound(chunk, last, region):
            scan.chunks.append(chunk)
            return
    scan.losses.append(Loss(offset, payload_len, event_count, "the last chunk is damaged"))


def _sound(chunk: Chunk, last: Chunk | None, region: Region) -> bool:
    """Whether a chunk without CRC belongs here and decodes to its end."""
    header = chunk.header
    if (
        header.format_version != FORMAT_VERSION
        or header.kind != ChunkKind.EVENTS
        or header.recording_id != region.header.recording_id
        or last is None
        or header.seq != last.header.seq + 1
    ):
        return False
    try:
        for _ in decode_chunk(header, chunk.payload()):
            pass
    except WireError:
        return False
    return True
