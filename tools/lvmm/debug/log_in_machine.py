"""The last events of the log that a machine keeps, read over its monitor's line.

The line may be slow and the log large, so it is read from its end, and no further than needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from lvmm.gdb.target import TargetError
from lvmm.logs import Event
from lvmm.logs.chunk_runs import MAGIC
from lvmm.logs.chunks import chunk_crc
from lvmm.logs.codec import decode_chunk
from lvmm.logs.layout import (
    CHUNK_ALIGN,
    CHUNK_PAYLOAD_MAX,
    FORMAT_VERSION,
    REGION_MAGIC,
    ChunkHeader,
    ChunkKind,
    RegionFlag,
    RegionHeader,
)
from lvmm.logs.wire import WireError

# Reads so many bytes of the log region from this offset on; fewer at its end.
Reader = Callable[[int, int], bytes]

_HEADER = ChunkHeader.STRUCT.size
_BLOCK = 4096


def last_events_of(read: Reader, count: int) -> list[Event]:
    """The last `count` events, the oldest first. Raises TargetError and what `read` raises."""
    region = RegionHeader.unpack(read(0, RegionHeader.STRUCT.size))
    if region.magic != REGION_MAGIC or region.format_version != FORMAT_VERSION:
        raise TargetError("the machine's log region is damaged")
    end = region.chunks_offset + region.chunk_bytes
    events: list[Event] = []
    try:
        if region.open_chunk:
            length, written = region.open_chunk & 0xFFFFFFFF, region.open_chunk >> 32
            data = read(end, _HEADER + length)
            header = replace(ChunkHeader.unpack(data), payload_len=length, event_count=written)
            events = list(decode_chunk(header, data[_HEADER:]))
        for header, payload in _chunks_backwards(read, region):
            if len(events) >= count:
                break
            if header.kind == ChunkKind.EVENTS:
                events = [*decode_chunk(header, payload), *events]
    except WireError as error:
        raise TargetError(f"the log is damaged: {error}") from None
    return events[-count:]


def _padded(header: ChunkHeader) -> int:
    size = _HEADER + header.payload_len
    return size + -size % CHUNK_ALIGN


def _chunks_backwards(read: Reader, region: RegionHeader) -> Iterator[tuple[ChunkHeader, bytes]]:
    """The completed chunks from the last one on; of a ring's lap before, those that are left.

    Raises TargetError.
    """
    start, end = region.chunks_offset, region.chunks_offset + region.chunk_bytes
    while (chunk := _chunk_before(read, end, start, start)) is not None:
        yield chunk
        end -= _padded(chunk[0])
    if not region.flags & RegionFlag.OVERWRITES or not region.lap_end:
        return
    written = start + region.chunk_bytes + (region.open_chunk & 0xFFFFFFFF)
    end = start + region.lap_end
    try:
        while (chunk := _chunk_before(read, end, written, start)) is not None:
            yield chunk
            end -= _padded(chunk[0])
    except TargetError:
        return  # what is there before has been overwritten


def _chunk_before(
    read: Reader, end: int, first: int, aligned_to: int
) -> tuple[ChunkHeader, bytes] | None:
    """The intact chunk that ends there; None where `first` is reached. Raises TargetError."""
    if end <= first:
        return None
    start, data = end, b""
    while start > max(first, end - _HEADER - CHUNK_PAYLOAD_MAX - CHUNK_ALIGN):
        more = min(_BLOCK, start - first)
        start -= more
        data = read(start, more) + data
        at = data.rfind(MAGIC, 0, more + len(MAGIC) - 1)
        while at >= 0:
            if (start + at - aligned_to) % CHUNK_ALIGN == 0 and len(data) - at >= _HEADER:
                header = ChunkHeader.unpack(data, at)
                payload = data[at + _HEADER : at + _HEADER + header.payload_len]
                fits = _padded(header) == end - start - at
                if fits and chunk_crc(header, payload) == header.crc32c:
                    return header, payload
            at = data.rfind(MAGIC, 0, at)
    raise TargetError("the log is damaged: no chunk before the last ones")
