"""Find the intact chunks of a recording wherever they are, and name what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from lvmm.logs.chunk_runs import find_runs
from lvmm.logs.chunks import Chunk, ChunkTable, TableRun
from lvmm.logs.codec import decode_chunk
from lvmm.logs.errors import READABLE_VERSIONS, Loss
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import (
    ChunkKind,
    End,
    MachineFlag,
)
from lvmm.logs.source import Source
from lvmm.logs.wire import WireError


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
    """All intact chunks between two offsets."""
    found = Found(source, start)
    at = start
    for run in find_runs(source, start, end):
        if run.offset > at:
            found.gaps.append((at, run.offset))
        found.misplaced += run.offset < at
        at = run.end
        version = run.first.format_version
        if version not in READABLE_VERSIONS:
            found.other_versions.setdefault(version, run.offset)
            continue
        table = found.tables.get(run.first.recording_id)
        if table is None:
            table = found.tables[run.first.recording_id] = ChunkTable(source)
        table.append_run(run)
    if at < end:
        found.gaps.append((at, end))
    return found


def in_order(found: Found, recording_id: int) -> ChunkScan:
    """The chunks of a recording by their sequence numbers. Nothing is there twice."""
    places = found.tables.get(recording_id, ChunkTable(found.source))
    others = {other: len(table) for other, table in found.tables.items() if other != recording_id}
    scan = ChunkScan(ChunkTable(found.source), [], found.misplaced, others)
    gaps_by_end = {end: start for start, end in found.gaps}
    gaps_by_start = dict(found.gaps)
    previous: Chunk | None = None
    highest = -1
    for run in _by_number(places):
        chunk = places[run.start]
        scan.disordered += max(min(run.stop, highest) - run.start, 0)
        highest = max(highest, run.stop - 1)
        if previous is not None and run.seq == previous.header.seq:
            scan.disordered += 1
            if (chunk.header, chunk.payload()) != (previous.header, previous.payload()):
                scan.losses.append(_ambiguous(chunk))
            continue
        if run.seq != (previous.header.seq + 1 if previous else 0):
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
        scan.chunks.append_from(places, run)
        previous = places[run.stop - 1]
    ended = previous is not None and bool(gaps_by_end) and _holds_end(previous)
    for end, start in gaps_by_end.items():
        scan.losses.append(_unexplained(previous, ended, start, end))
    scan.losses.sort(key=lambda loss: (loss.offset, loss.first_seq or 0))
    return scan


def _by_number(places: ChunkTable) -> Iterator[TableRun]:
    """The runs by their numbers; one chunk at a time where numbers are there more than once."""
    overlapping: list[TableRun] = []
    end = 0
    for run in sorted(places.runs(), key=lambda run: run.seq):
        if overlapping and run.seq >= end:
            yield from _apart(places, overlapping)
            overlapping = []
        overlapping.append(run)
        end = max(end, run.next_seq)
    yield from _apart(places, overlapping)


def _apart(places: ChunkTable, overlapping: list[TableRun]) -> Iterator[TableRun]:
    if len(overlapping) < 2:
        yield from overlapping
        return
    for seq, index in sorted(
        (run.seq + index - run.start, index)
        for run in overlapping
        for index in range(run.start, run.stop)
    ):
        chunk = places[index]
        yield TableRun(seq, index, index + 1, chunk.size, chunk.header.event_count)


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
