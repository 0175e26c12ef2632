"""Runs of chunks: found in C as in Python, and large logs of large and of small chunks."""

from __future__ import annotations

import random
import tracemalloc
from array import array
from dataclasses import replace
from pathlib import Path

import pytest
from tests.host.damaged_logs import make_case
from tests.host.extract_tool import chunk_offsets
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.logs import Recording, chunk_runs, layout
from lvmm.logs.chunk_runs import CHUNK_MAX, ChunkRun, fast_find_run, find_run
from lvmm.logs.chunks import Chunk, ChunkTable
from lvmm.logs.codec import Event
from lvmm.logs.errors import Loss
from lvmm.logs.layout import ChunkHeader
from lvmm.logs.source import Source
from lvmm.logs.statistics import PythonCounter, count, fast_counter
from lvmm.logs.writer import LogWriter

pytestmark = pytest.mark.host

DAMAGED = 300


def test_c_finds_the_runs_that_python_finds() -> None:
    fast = fast_find_run()
    assert fast is not None, "it was not built"
    for seed in range(DAMAGED):
        data = make_case(seed).data
        for at in (*range(0, len(data), 8), len(data) - 1, len(data)):
            assert fast(data, at, 1000) == find_run(data, at, 1000), (seed, at)


def large_log(size: int, seed: int) -> bytes:
    """Chunks of 100 bytes to the largest; the whole is larger than what is read at a time."""
    rng = random.Random(seed)
    log = LogWriter(RECORDING_ID, HEADER)
    number = 0
    while len(log.data) < size:
        length = rng.choice([0, 10, 1000, 60_000, layout.EVENT_DATA_MAX])
        log.write(Event(layout.Dma(1, number, bytes([number % 251]) * length), number, 0, check=0))
        number += 1
        if rng.random() < 0.5:
            log.flush()
    log.flush()
    return bytes(log.data)


@pytest.mark.parametrize("native", ["1", "0"])
def test_a_log_that_is_read_in_parts(
    native: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk is there, is counted once, and those that are damaged are named."""
    monkeypatch.setattr(chunk_runs, "fast_find_run", fast_find_run if native == "1" else no_library)
    data = large_log(9 << 20, 3)
    offsets = chunk_offsets(data)
    damaged = random.Random(4).sample(range(1, len(offsets) - 1), 5)
    broken = bytearray(data)
    for number in damaged:
        broken[offsets[number] + 60] ^= 1
    path = tmp_path / "log.lvmm"
    for body, missing in ((data, []), (bytes(broken), sorted(damaged))):
        path.write_bytes(body)
        left = [number for number in range(len(offsets)) if number not in missing]
        counter = fast_counter() if native == "1" else PythonCounter()
        assert counter is not None
        with Recording.open(path) as recording:
            assert [chunk.offset for chunk in recording.chunks] == [offsets[n] for n in left]
            assert [chunk.header.seq for chunk in recording.chunks] == left
            assert recording.log_bytes == sum(sizes(data)[number] for number in left)
            found = count(recording, counter)
            assert found.events == recording.event_count == sum(1 for _ in recording.events())
            assert lost(recording.losses) == missing


def no_library() -> None:
    return None


def sizes(data: bytes) -> list[int]:
    offsets = chunk_offsets(data)
    return [end - start for start, end in zip(offsets, [*offsets[1:], len(data)], strict=True)]


def lost(losses: list[Loss]) -> list[int]:
    """The numbers of lost chunks."""
    ranges = [(loss.first_seq, loss.last_seq) for loss in losses]
    return [n for first, last in ranges for n in range(first or 0, (last or 0) + 1)]


def test_a_log_whose_chunks_stand_in_any_order(tmp_path: Path) -> None:
    data = large_log(6 << 20, 5)
    offsets = chunk_offsets(data)
    chunks = [data[at : at + size] for at, size in zip(offsets, sizes(data), strict=True)]
    rest = chunks[1:]
    random.Random(6).shuffle(rest)
    path = tmp_path / "log.lvmm"
    path.write_bytes(b"".join([chunks[0], *rest, *rest[:7]]))
    with Recording.open(path) as recording:
        assert [chunk.pack() for chunk in recording.chunks] == chunks
        assert recording.losses == []
        assert recording.disordered > 7
        counter = fast_counter()
        assert counter is not None
        assert count(recording, counter).events == recording.event_count


def test_a_log_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    """What is gone is a loss, and no traceback."""
    path = tmp_path / "log.lvmm"
    for counter in (fast_counter(), PythonCounter()):
        assert counter is not None
        path.write_bytes(large_log(1 << 20, 7))
        with Recording.open(path) as recording:
            events = recording.event_count
            with path.open("r+b") as file:
                file.truncate(recording.chunks[-1].offset + 80)
            assert count(recording, counter).events < events
            (loss,) = recording.losses
            assert "cut short" in str(loss)


def test_a_large_table_takes_little_memory(tmp_path: Path) -> None:
    """Three million chunks, as a log of 4 GB may have: 8 bytes each, and room to grow."""
    path = tmp_path / "log.lvmm"
    path.write_bytes(large_log(1 << 18, 8))
    first = ChunkHeader.unpack(path.read_bytes()[: ChunkHeader.STRUCT.size])
    source = Source(str(path))
    tracemalloc.start()
    table = ChunkTable(source)
    for start in range(0, 3_000_000, 1000):
        offsets = array("Q", range(start, start + 1000))
        table.append_run(ChunkRun(offsets, replace(first, seq=start), 64, 5))
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()
    assert len(table) == 3_000_000
    assert table.event_count == 15_000
    (only,) = table.runs()
    assert (only.seq, only.start, only.stop) == (0, 0, 3_000_000)
    source.close()


def test_the_largest_chunk_is_in_sight(tmp_path: Path) -> None:
    """Wherever a window ends."""
    path = tmp_path / "log.lvmm"
    for lead in range(0, 2 * CHUNK_MAX, CHUNK_MAX // 3):
        log = LogWriter(RECORDING_ID, HEADER)
        while len(log.data) < lead:
            log.write(Event(layout.Nmi(), 0, 0, check=0))
            log.flush()
        log.write(Event(layout.Dma(1, 0, bytes(layout.EVENT_DATA_MAX)), 0, 0, check=0))
        log.flush()
        path.write_bytes(bytes(log.data))
        with Recording.open(path) as recording:
            assert recording.losses == []
            last = recording.chunks[-1]
            assert isinstance(last, Chunk) and last.offset + last.size == len(log.data)
