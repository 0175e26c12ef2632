"""The epochs of a recording that was made into a ring: where a replay of what is left can begin."""

from __future__ import annotations

from lvmm.logs.chunks import Chunk
from lvmm.logs.codec import decode_chunk
from lvmm.logs.layout import ChunkKind, EventKind
from lvmm.logs.recording import Recording
from lvmm.logs.wire import WireError


def begins_epoch(chunk: Chunk) -> bool:
    """Whether the chunk's first event is an EPOCH: each begins a chunk."""
    if chunk.header.kind != ChunkKind.EVENTS:
        return False
    try:
        first = next(decode_chunk(chunk.header, chunk.payload()), None)
    except WireError:
        return False
    return first is not None and first.kind == EventKind.EPOCH


def epochs_to_the_end(recording: Recording) -> list[int]:
    """Numbers, in recording.chunks, of those that begin an epoch after which nothing is missing."""
    found: list[int] = []
    after: Chunk | None = None
    for number in range(len(recording.chunks) - 1, -1, -1):
        chunk = recording.chunks[number]
        if after is not None and chunk.header.seq + 1 != after.header.seq:
            break
        if begins_epoch(chunk):
            found.append(number)
        after = chunk
    return found[::-1]
