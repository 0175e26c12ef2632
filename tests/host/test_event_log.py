"""What gdb's `monitor events COUNT` shows."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.debug.event_log import last_events
from lvmm.debug.log_in_machine import last_events_of
from lvmm.errors import LvmmError
from lvmm.gdb.target import TargetError
from lvmm.logs import Event, Recording
from lvmm.logs.event_text import event_line
from lvmm.logs.layout import (
    CHUNK_MAGIC_OPEN,
    CHUNK_PAYLOAD_TARGET,
    ChunkHeader,
    Dma,
    Rdtsc,
    RegionHeader,
)
from lvmm.logs.writer import LogWriter, build_region

EVENTS = 30


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Chunks of seven events."""
    writer = LogWriter(RECORDING_ID, HEADER)
    for index in range(EVENTS):
        writer.write(Event(Rdtsc(1000 + index * index), 10 * index, 0x1000 + index, check=0))
        if index % 7 == 6:
            writer.flush()
    writer.flush()
    path = tmp_path / "log.lvmm"
    path.write_bytes(writer.data)
    return path


def test_the_last_ones_so_far(log: Path) -> None:
    with Recording.open(log) as recording:
        lines = [event_line(event) for event in recording.events()]
    assert len(lines) == EVENTS
    for done in range(1, EVENTS + 1):
        for count in (1, 3, 10, EVENTS, 1 << 64):
            shown = last_events(log, done, count).splitlines()
            assert shown == lines[max(done - count, 0) : done]


def test_none_yet(log: Path) -> None:
    with pytest.raises(TargetError, match="no event yet"):
        last_events(log, 0, 5)


def test_no_log(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.write_bytes(bytes(8192))
    with pytest.raises(LvmmError):
        last_events(nothing, 1, 1)


class Machine:
    """A machine's log region, and how much of it was read."""

    def __init__(self, region: bytes) -> None:
        self.region = region
        self.read_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        part = self.region[offset : offset + length]
        self.read_bytes += len(part)
        return part


def written(events: int, every: int) -> LogWriter:
    """A log of events of very different sizes, a chunk for `every` of them at most."""
    writer = LogWriter(RECORDING_ID, HEADER)
    for index in range(events):
        size = index * 7919 % 9000 if index % 3 else 0
        payload = Dma(1, 0x1000, bytes((index + at) % 256 for at in range(size)))
        writer.write(Event(payload, 10 * index, 0x1000 + index, check=0))
        if index % every == every - 1:
            writer.flush()
    writer.flush()
    return writer


def reopened(region: bytes) -> bytes:
    """The region as it was before its last chunk was closed."""
    header = RegionHeader.unpack(region)
    end = header.chunks_offset + header.chunk_bytes
    at = header.chunks_offset
    while at + (size := chunk_size(region, at)) < end:
        at += size
    chunk = ChunkHeader.unpack(region, at)
    length, events = chunk.payload_len, chunk.event_count
    header = replace(
        header,
        chunk_bytes=at - header.chunks_offset,
        open_chunk=events << 32 | length,
        event_count=header.event_count - events,
    )
    chunk = replace(chunk, magic=CHUNK_MAGIC_OPEN, payload_len=0, event_count=0, crc32c=0)
    data = bytearray(region)
    data[: RegionHeader.STRUCT.size] = header.pack()
    data[at : at + ChunkHeader.STRUCT.size] = chunk.pack()
    return bytes(data)


def chunk_size(region: bytes, at: int) -> int:
    size = ChunkHeader.STRUCT.size + ChunkHeader.unpack(region, at).payload_len
    return size + -size % 8


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("every", [1, 5, 1000])
def test_the_last_ones_in_a_machine(tmp_path: Path, every: int, is_open: bool) -> None:
    writer = written(100, every)
    path = tmp_path / "log.lvmm"
    path.write_bytes(writer.data)
    with Recording.open(path) as recording:
        events = [event_line(event) for event in recording.events()]
    region = build_region(writer, 1 << 20)
    machine = Machine(reopened(region) if is_open else region)
    for count in (1, 2, 30, 100, 1 << 40):
        found = last_events_of(machine.read, count)
        assert [event_line(event) for event in found] == events[-count:]
    machine.read_bytes = 0
    last_events_of(machine.read, 1)
    assert machine.read_bytes < 2 * CHUNK_PAYLOAD_TARGET, "the rest of the log is left alone"


def test_no_event_in_a_machine_yet() -> None:
    machine = Machine(build_region(LogWriter(RECORDING_ID, HEADER), 1 << 20))
    assert last_events_of(machine.read, 5) == []
    with pytest.raises(TargetError, match="damaged"):
        last_events_of(Machine(bytes(1 << 20)).read, 5)


def test_a_damaged_log_in_a_machine() -> None:
    region = bytearray(build_region(written(20, 5), 1 << 20))
    header = RegionHeader.unpack(bytes(region))
    region[header.chunks_offset + header.chunk_bytes - 100] ^= 1
    with pytest.raises(TargetError, match="damaged"):
        last_events_of(Machine(bytes(region)).read, 5)
