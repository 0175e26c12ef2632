"""Logs with damage, made by a seeded generator, and what must come out of them.

The generator knows nothing of the reader: it cuts, overwrites and moves bytes. What must be found
is defined by the bytes that are left: each chunk that still stands somewhere, whole.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.host.log_driver import HEADER

from lvmm.logs import layout
from lvmm.logs.codec import Event
from lvmm.logs.layout import ChunkHeader
from lvmm.logs.source import PAGE
from lvmm.logs.writer import LogWriter, build_region

_COUNTERS = 88  # offset of chunk_bytes in a region's header
_REGION_CHUNKS = 2 * PAGE  # offset of the chunks in a region with a console of a page


@dataclass(frozen=True)
class Case:
    """A damaged source. `chunks`: the recording's chunks as they were, by sequence number;
    `others` those of another recording in the same source.
    """

    data: bytes
    is_region: bool
    recording_id: int
    chunks: list[bytes]
    others: list[bytes]

    def survivors(self) -> list[int]:
        """The sequence numbers of the chunks that still stand somewhere, whole."""
        return self.whole(self.chunks)

    def whole(self, chunks: list[bytes]) -> list[int]:
        """Those of `chunks`, also where two share bytes: the end of one may be another's magic."""
        return [seq for seq, chunk in enumerate(chunks) if chunk in self.data]


def make_case(seed: int) -> Case:
    """The damaged source number `seed`."""
    rng = random.Random(seed)
    recording_id = rng.getrandbits(64) | 1
    log = _log(rng, recording_id)
    other = _log(rng, recording_id ^ 0xFF00) if rng.random() < 0.2 else None
    is_region = rng.random() < 0.5
    if is_region:
        size = _REGION_CHUNKS + len(log.data) + rng.choice([0, 64, PAGE])
        if other:
            size += len(other.data)
        data = bytearray(build_region(log, size, b"console"))
        if other:  # what an earlier recording left behind the end
            at = _REGION_CHUNKS + len(log.data)
            data[at : at + len(other.data)] = other.data
        start, end = _REGION_CHUNKS, _REGION_CHUNKS + len(log.data)
        if rng.random() < 0.2:
            _make_stale(rng, data)
    else:
        data = bytearray(log.data)
        if other:
            data += other.data
        start, end = 0, len(data)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        _damage(rng, data, start, end, is_region)
        end = min(end, len(data))
    return Case(
        bytes(data),
        is_region,
        recording_id,
        split(bytes(log.data)),
        split(bytes(other.data)) if other else [],
    )


def split(log: bytes) -> list[bytes]:
    """The chunks of an undamaged log, without padding."""
    chunks = []
    at = 0
    while at < len(log):
        size = ChunkHeader.STRUCT.size + ChunkHeader.unpack(log, at).payload_len
        chunks.append(log[at : at + size])
        at += size + -size % layout.CHUNK_ALIGN
    return chunks


def _log(rng: random.Random, recording_id: int) -> LogWriter:
    log = LogWriter(recording_id, HEADER)
    branches = 0
    for _ in range(rng.randrange(6)):
        for _ in range(rng.randint(1, 5)):
            branches += rng.randrange(100)
            log.write(Event(_payload(rng), branches, 0x1000 + 16 * rng.randrange(4), check=0))
        log.flush()
    return log


def _payload(rng: random.Random) -> layout.Payload:
    match rng.randrange(6):
        case 0:
            return layout.Rdtsc(rng.getrandbits(64))
        case 1:
            return layout.In(0x3FD, 1, rng.randrange(256))
        case 2:
            return layout.Dma(1, rng.getrandbits(32), rng.randbytes(rng.randrange(120)))
        case 3:  # what looks like the start of a chunk
            return layout.Mark(b"LVCK" * rng.randint(1, 20))
        case 4:
            return layout.End(layout.EndReason.RESET, bytes(layout.FinalState.STRUCT.size))
        case _:
            return layout.Rdmsr(0x10, 0, rng.getrandbits(64))


def _make_stale(rng: random.Random, region: bytearray) -> None:
    """The counters in a region's header have no CRC: anything may stand there."""
    at = _COUNTERS + 8 * rng.randrange(6)
    region[at : at + 8] = rng.choice(
        [bytes(8), b"\xff" * 8, rng.randbytes(8), rng.randrange(2000).to_bytes(8, "little")]
    )


def _damage(rng: random.Random, data: bytearray, start: int, end: int, in_place: bool) -> None:
    """One thing that happens to bytes; `in_place`: none of them moves, as in memory."""
    if end <= start:
        return
    at = rng.randrange(start, end)
    size = rng.choice([1, 4, 16, 64, 300])
    kinds = ["flip", "flip", "noise", "zero", "tear", "magic"]
    if not in_place:
        kinds += ["truncate", "delete", "insert", "double", "swap"]
    match rng.choice(kinds):
        case "flip":
            data[at] ^= 1 << rng.randrange(8)
        case "noise":  # as by a ring that was overwritten
            size = min(size, end - at)
            data[at : at + size] = rng.randbytes(size)
        case "zero":
            size = min(size, end - at)
            data[at : at + size] = bytes(size)
        case "tear":  # the last part never reached memory
            data[at:end] = bytes(end - at)
        case "magic":
            data[at : at + 4] = b"LVCK"[: max(0, min(4, end - at))]
        case "truncate":
            del data[at:]
        case "delete":
            del data[at : at + size]
        case "insert":
            data[at:at] = rng.randbytes(size)
        case "double":
            data[at:at] = data[at : at + size]
        case _:  # blocks of a file system, in another order
            block = rng.choice([64, 256, 512])
            blocks = [bytes(data[i : i + block]) for i in range(start, end, block)]
            rng.shuffle(blocks)
            data[start:end] = b"".join(blocks)


def write_case(case: Case, path: Path) -> None:
    """Put the source into a file."""
    path.write_bytes(case.data)
