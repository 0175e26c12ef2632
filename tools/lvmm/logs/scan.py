"""Find the intact chunks of a recording wherever they are, and name what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lvmm.logs.chunks import (
    HEADER_SIZE,
    MAGIC,
    Chunk,
    ChunkTable,
    chunk_crc,
    read_any_chunk,
)
from lvmm.logs.codec import decode_chunk
from lvmm.logs.errors import READABLE_VERSIONS, Loss
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import (
    CHUNK_MAGIC,
    CHUNK_MAGIC_OPEN,
    CHUNK_PAYLOAD_MAX,
    ChunkHeader,
    ChunkKind,
    End,
    MachineFlag,
)
from lvmm.logs.region import Region
from lvmm.logs.source import Source
from lvmm.logs.wire import WireError

_OPEN_MAGIC = CHUNK_MAGIC_OPEN.to_bytes(4, "little")


@dataclass
class Found:
    """The intact chunks of a part of a source, by recording, in the order of their places.

    `gaps` are the places, start and end, of bytes that belong to no intact chunk.
    `misplaced` counts those that stand where zeros should be. `other_versions` has, by format
    version, the place of the first chunk that cannot be read.
    """

    source: Source
    start: int
    tables: dict[int, ChunkTable] = field(default_factory=dict)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    misplaced: int = 0
    other_versions: dict[int, int] = field(default_factory=dict)


@dataclass
class ChunkScan:
    """The chunks of one recording, in the order in which they were written, and what is missing.

    `disordered`: chunks that stood at another place, or twice. `others`: how many chunks there are
    of other recordings. `overwritten` is what a ring has overwritten, in order: no loss.
    """

    chunks: ChunkTable
    losses: list[Loss]
    disordered: int = 0
    others: dict[int, int] = field(default_factory=dict)
    overwritten: Loss | None = None


def find_chunks(source: Source, start: int, end: int) -> Found:
    """All intact chunks between two offsets: from one to the next where they follow each other,
    else by a search for the magic.
    """
    found = Found(source, start)
    at = start
    for chunk in _walk(source, start, end):
        if chunk.offset > at:
            found.gaps.append((at, chunk.offset))
        found.misplaced += chunk.offset < at
        at = chunk.offset + chunk.size
        version = chunk.header.format_version
        if version not in READABLE_VERSIONS:
            found.other_versions.setdefault(version, chunk.offset)
            continue
        table = found.tables.get(chunk.header.recording_id)
        if table is None:
            table = found.tables[chunk.header.recording_id] = ChunkTable(source)
        table.append(chunk)
    if at < end:
        found.gaps.append((at, end))
    return found


def _walk(source: Source, start: int, end: int) -> Iterator[Chunk]:
    at = low = start  # where the next one should be, and from where on it can be
    while low < end:
        chunk = read_any_chunk(source, at)
        if chunk is None:
            hits = source.find(MAGIC, low, end, 1)
            chunk = next((found for hit in hits if (found := read_any_chunk(source, hit))), None)
        if chunk is None:
            return
        yield chunk
        at = chunk.offset + chunk.size
        low = at - chunk.padding


def in_order(found: Found, recording_id: int) -> ChunkScan:
    """The chunks of a recording by their sequence numbers. Nothing is there twice."""
    places = found.tables.get(recording_id, ChunkTable(found.source))
    others = {other: len(table) for other, table in found.tables.items() if other != recording_id}
    scan = ChunkScan(ChunkTable(found.source), [], found.misplaced, others)
    gaps_by_end = {end: start for start, end in found.gaps}
    gaps_by_start = dict(found.gaps)
    previous: Chunk | None = None
    highest = -1
    for index in sorted(range(len(places)), key=lambda index: places[index].header.seq):
        chunk = places[index]
        scan.disordered += index < highest
        highest = max(highest, index)
        if previous is not None and chunk.header.seq == previous.header.seq:
            scan.disordered += 1
            if (chunk.header, chunk.payload()) != (previous.header, previous.payload()):
                scan.losses.append(_ambiguous(chunk))
            continue
        if chunk.header.seq != (previous.header.seq + 1 if previous else 0):
            end = previous.offset + previous.size if previous else found.start
            if chunk.offset in gaps_by_end:
                place = (gaps_by_end.pop(chunk.offset), chunk.offset)
            else:
                place = (end, gaps_by_start.get(end, end))
                gaps_by_end.pop(place[1], None)
            missing = _missing(previous, chunk, place)
            if previous is not None and _begins_ring(previous):
                scan.overwritten = replace(missing, reason="overwritten")
            else:
                scan.losses.append(missing)
        scan.chunks.append(chunk)
        previous = chunk
    ended = previous is not None and bool(gaps_by_end) and _holds_end(previous)
    for end, start in gaps_by_end.items():
        scan.losses.append(_unexplained(previous, ended, start, end))
    scan.losses.sort(key=lambda loss: (loss.offset, loss.first_seq or 0))
    return scan


def _missing(before: Chunk | None, after: Chunk, place: tuple[int, int]) -> Loss:
    first_event = before.next_event if before else 0
    size = place[1] - place[0]
    return Loss(
        place[0],
        size,
        max(after.header.first_event - first_event, 0),
        "damaged" if size else "missing chunks",
        first_seq=before.header.seq + 1 if before else 0,
        last_seq=after.header.seq - 1,
        first_event=first_event,
        after=before.header.first_branches if before else 0,
        before=after.header.first_branches,
    )


def _begins_ring(chunk: Chunk) -> bool:
    """Whether it is the header of a recording whose next chunks may have been overwritten."""
    if chunk.header.kind != ChunkKind.HEADER:
        return False
    try:
        machine = RecordingHeader.decode(chunk.payload()).machine
    except WireError:
        return False
    return bool(machine.flags & MachineFlag.OVERWRITES)


def _holds_end(chunk: Chunk) -> bool:
    """Whether the recording ends with the chunk."""
    if chunk.header.kind != ChunkKind.EVENTS:
        return False
    try:
        return any(isinstance(e.payload, End) for e in decode_chunk(chunk.header, chunk.payload()))
    except WireError:
        return False


def _unexplained(last: Chunk | None, ended: bool, start: int, end: int) -> Loss:
    """Bytes that are no chunk: after the last one, nobody knows what they were."""
    if last is None or ended or start < last.offset:
        return Loss(start, end - start, 0, "bytes that are no chunk")
    return Loss(
        start,
        end - start,
        None,
        "damaged or cut short",
        first_seq=last.header.seq + 1,
        first_event=last.next_event,
        after=last.header.first_branches,
    )


def _ambiguous(chunk: Chunk) -> Loss:
    header = chunk.header
    return Loss(
        chunk.offset,
        chunk.size,
        header.event_count,
        "another chunk with the same number",
        first_seq=header.seq,
        last_seq=header.seq,
        first_event=header.first_event,
        after=header.first_branches,
    )


def scan_file(source: Source, recording_id: int) -> ChunkScan:
    """The chunks of a recording anywhere in a file of concatenated chunks."""
    return in_order(find_chunks(source, 0, source.size), recording_id)


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
    if not 0 < chunks * HEADER_SIZE <= loss.size or not 0 <= events <= loss.size:
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
    if not event_count <= payload_len <= min(left, CHUNK_PAYLOAD_MAX):
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
