"""The epochs of a recording that was made into a ring: where a replay of what is left can begin."""

from __future__ import annotations

from lvmm.logs.chunks import Chunk
from lvmm.logs.layout import ChunkKind, EventKind
from lvmm.logs.recording import Recording

_KIND_MASK = 31  # of an event's first byte (docs/log-format.md)


def begins_epoch(chunk: Chunk) -> bool:
    """Whether the chunk's first event is an EPOCH: each begins a chunk, and is not predicted."""
    if chunk.header.kind != ChunkKind.EVENTS:
        return False
    return chunk.payload()[:1][0] & _KIND_MASK == EventKind.EPOCH


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
