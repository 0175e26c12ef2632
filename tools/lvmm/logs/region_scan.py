"""The chunks in a memory region: completed ones, in a ring too, and the one being written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lvmm.logs.chunk_runs import HEADER_SIZE
from lvmm.logs.chunks import Chunk, ChunkTable, chunk_crc
from lvmm.logs.codec import decode_chunk, events_max
from lvmm.logs.errors import READABLE_VERSIONS, Loss
from lvmm.logs.layout import (
    CHUNK_MAGIC,
    CHUNK_MAGIC_OPEN,
    CHUNK_PAYLOAD_MAX,
    ChunkHeader,
    ChunkKind,
)
from lvmm.logs.region import Region
from lvmm.logs.scan import ChunkScan, Found, find_chunks, in_order
from lvmm.logs.wire import WireError

_OPEN_MAGIC = CHUNK_MAGIC_OPEN.to_bytes(4, "little")


def scan_region(region: Region) -> ChunkScan:
    """The chunks in a memory region, the one that was being written included."""
    header = region.header
    start = region.chunks_start
    end = min(start + header.chunks_size, region.source.size)
    completed = start + min(header.chunk_bytes, header.chunks_size)
    found = find_chunks(region.source, start, end)
    if region.has_overwritten:
        newest = _leave_out_stale(found, region)
        if newest is not None and newest.offset == completed:
            completed += newest.size
    found.gaps = [part for gap in found.gaps for part in _meant(gap, completed, region)]
    scan = in_order(found, header.recording_id)
    if scan.overwritten is not None and not region.has_overwritten:
        scan.losses.insert(0, replace(scan.overwritten, reason="damaged"))
        scan.overwritten = None
    scan.losses = [_counted_by_region(loss, region) for loss in scan.losses]
    _recover_open_chunk(region, scan)
    return scan


def _leave_out_stale(found: Found, region: Region) -> Chunk | None:
    """Behind what a ring uses there may be chunks of an earlier lap. The newest chunk, which is
    returned, is none, also where the region's header was not yet brought up to date.
    """
    table = found.tables.get(region.header.recording_id, ())
    newest = max(table, key=lambda chunk: chunk.header.seq, default=None)
    kept = found.tables[region.header.recording_id] = ChunkTable(found.source)
    for chunk in table:
        if chunk.offset < _used_end(region) or chunk == newest:
            kept.append(chunk)
    return newest


def _used_end(region: Region) -> int:
    """Where the completed chunks in a ring end that has gone round."""
    return region.chunks_start + max(region.header.lap_end, region.header.chunk_bytes)


def _meant(gap: tuple[int, int], completed: int, region: Region) -> Iterator[tuple[int, int]]:
    """The parts of a gap where there should be chunks. What follows the completed ones may be
    anything; in a ring that has gone round, up to where the oldest chunk begins that is left.
    """
    low, high = gap
    if low < completed:
        yield low, min(high, completed)
    elif region.has_overwritten and completed < low < _used_end(region):
        yield low, min(high, _used_end(region))


def _counted_by_region(loss: Loss, region: Region) -> Loss:
    """What is lost at the end, as the region's header tells, if that can be: it has no CRC."""
    if loss.events is not None or loss.first_seq is None or loss.first_event is None:
        return loss
    chunks = region.header.next_seq - loss.first_seq
    events = region.header.event_count - loss.first_event
    if not 0 < chunks * HEADER_SIZE <= loss.size or not 0 <= events <= events_max(loss.size):
        return loss
    return replace(loss, events=events, last_seq=loss.first_seq + chunks - 1)


def _recover_open_chunk(region: Region, scan: ChunkScan) -> None:
    """Close the chunk that was being written when the machine stopped."""
    payload_len, event_count = region.open_chunk
    offset = region.chunks_start + region.header.chunk_bytes
    last = scan.chunks[-1] if scan.chunks else None
    closed = last is not None and (
        last.offset == offset if region.overwrites else last.offset >= offset
    )
    if not event_count or closed:
        return  # none, or closed already, and the region's header was not brought up to date
    left = region.chunks_start + region.header.chunks_size - offset - HEADER_SIZE
    if payload_len > min(left, CHUNK_PAYLOAD_MAX) or event_count > events_max(payload_len):
        start = min(offset, region.source.size)
        scan.losses.append(Loss(start, 0, None, "the region's header is damaged"))
        return
    data = region.source.read(offset, HEADER_SIZE)
    if len(data) == HEADER_SIZE:
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
    scan.losses.append(
        Loss(
            offset,
            payload_len,
            event_count,
            "the last chunk is damaged",
            first_seq=last.header.seq + 1 if last else 0,
            last_seq=last.header.seq + 1 if last else 0,
            first_event=last.next_event if last else 0,
            after=last.header.first_branches if last else 0,
        )
    )


def _sound(chunk: Chunk, last: Chunk | None, region: Region) -> bool:
    """Whether a chunk without CRC belongs here and decodes to its end."""
    header = chunk.header
    if (
        header.format_version not in READABLE_VERSIONS
        or header.kind != ChunkKind.EVENTS
        or header.recording_id != region.header.recording_id
        or last is None
        or header.seq <= last.header.seq
        or header.first_event < last.next_event
    ):
        return False
    try:
        for _ in decode_chunk(header, chunk.payload()):
            pass
    except WireError:
        return False
    return True
