"""A log region that is a ring: what is kept when the newest chunks overwrite the oldest."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.host import extract_tool, log_driver
from tests.host.extract_tool import Tool
from tests.host.log_cases import comparable, numbered
from tests.host.log_driver import ERR_NO_SPACE, OK, RECORDING_ID, Written

from lvmm.debug.log_in_machine import last_events_of
from lvmm.logs import Recording, layout
from lvmm.logs.chunks import HEADER_SIZE
from lvmm.logs.codec import Event, Registers
from lvmm.logs.layout import CHUNK_PAYLOAD_MAX, CHUNK_PAYLOAD_RING, RegionHeader
from lvmm.logs.source import PAGE

pytestmark = pytest.mark.host

tool = extract_tool.tool

# The smallest that the monitor formats: a ring of little more than two full chunks.
SMALLEST = (2 * PAGE + CHUNK_PAYLOAD_MAX + PAGE - 1) // PAGE * PAGE


def generated(rng: random.Random, count: int, largest: int) -> list[Written]:
    """Events whose data has up to `largest` bytes; one in ten is about as large as a chunk."""
    written = []
    for index in range(count):
        registers = Registers((index,) * 16, 0x1000 + 64 * rng.randrange(20), 2)
        size = rng.randrange(largest)
        if rng.random() < 0.1:
            size = min(largest, rng.choice([CHUNK_PAYLOAD_RING - 300, CHUNK_PAYLOAD_RING]))
        payload = layout.Dma(1, 0x1000 * index, rng.randbytes(size))
        event = Event(payload, 10 * index, registers.rip, asynchronous=True)
        written.append(Written(event, registers))
    return written


def ring_requests(rng: random.Random, written: list[Written], flushes: float) -> list[bytes]:
    requests = [log_driver.header_request()]
    for item in written:
        requests.append(log_driver.event_request(item))
        if rng.random() < flushes:
            requests.append(log_driver.flush_request())
    return requests


def check_region(path: Path, written: list[Written], size: int, largest: int) -> Recording:
    """Without any loss the newest events are there, up to the last one, and no other."""
    with Recording.open(path) as recording:
        assert recording.losses == []
        assert recording.header == log_driver.RING_HEADER
        events = [comparable(event) for event in recording.events()]
        assert not recording.losses
        expected = numbered(written)
        kept = len(events)
        assert events == [comparable(event) for event in expected[len(expected) - kept :]]
        seqs = [chunk.header.seq for chunk in recording.chunks]
        assert seqs[0] == 0
        assert seqs[1:] == list(range(seqs[-1] - len(seqs) + 2, seqs[-1] + 1))
        lost = recording.overwritten
        assert (lost is None) == (kept == len(written))
        if lost is not None:
            assert (lost.first_seq, lost.last_seq) == (1, seqs[1] - 1)
            assert lost.events == events[0].index
            # No more is gone than what had to make room, and what did not fit at the ring's end.
            chunk = HEADER_SIZE + max(CHUNK_PAYLOAD_RING, largest + 300)
            assert recording.log_bytes >= size - 2 * PAGE - 2 * chunk
    return recording


@pytest.mark.parametrize("seed", range(8))
def test_the_newest_events_are_kept(tmp_path: Path, seed: int) -> None:
    """Wherever the machine stops, and the log goes round some times."""
    rng = random.Random(seed)
    largest = [700, 3000, 30000, 70000][seed % 4]
    size = SMALLEST + rng.randrange(4) * 8 * PAGE
    count = 16 * size // largest
    written = generated(rng, count, largest)
    requests = ring_requests(rng, written, rng.choice([0.0, 0.05, 0.3]))
    ends = sorted(rng.sample(range(2, len(requests)), 6))
    for end in [*ends, len(requests)]:
        path = tmp_path / "region"
        codes, data = log_driver.write(requests[:end], path, size, "ring")
        assert set(codes) == {OK}
        events = sum(request[0] == requests[1][0] for request in requests[:end])
        check_region(path, written[:events], size, largest)
    header = RegionHeader.unpack(data)
    assert header.taken > 2 * header.chunks_size
    assert header.event_count + (header.open_chunk >> 32) == len(written)


def test_a_file_of_it_is_whole(tmp_path: Path) -> None:
    """Its header says that the first chunks may be missing."""
    rng = random.Random(1)
    written = generated(rng, 300, 3000)
    log_driver.write(ring_requests(rng, written, 0), tmp_path / "region", SMALLEST, "ring")
    with Recording.open(tmp_path / "region") as recording:
        recording.save(tmp_path / "log.lvmm")
        kept = [comparable(event) for event in recording.events()]
        overwritten = recording.overwritten
    with Recording.open(tmp_path / "log.lvmm") as recording:
        assert recording.losses == []
        assert recording.overwritten is not None and overwritten is not None
        assert recording.overwritten.events == overwritten.events
        assert [comparable(event) for event in recording.events()] == kept


def test_a_ring_that_is_not_full_has_overwritten_nothing(tmp_path: Path) -> None:
    rng = random.Random(2)
    written = generated(rng, 30, 100)
    requests = ring_requests(rng, written, 0.3)
    _, data = log_driver.write(requests, tmp_path / "region", SMALLEST, "ring")
    check_region(tmp_path / "region", written, SMALLEST, 100)
    # Its first chunk of events, damaged, is a loss.
    header = RegionHeader.unpack(data)
    with Recording.open(tmp_path / "region") as recording:
        first = recording.chunks[1]
    damaged = bytearray(data)
    damaged[first.offset + HEADER_SIZE] ^= 1
    (tmp_path / "region").write_bytes(damaged)
    assert header.lap_end == 0
    with Recording.open(tmp_path / "region") as recording:
        assert recording.overwritten is None
        assert [loss.events for loss in recording.losses] == [first.header.event_count]


def test_damage_is_told_from_overwriting(tmp_path: Path) -> None:
    rng = random.Random(3)
    written = generated(rng, 1000, 1000)
    requests = ring_requests(rng, written, 0.3)
    _, data = log_driver.write(requests, tmp_path / "region", SMALLEST, "ring")
    with Recording.open(tmp_path / "region") as recording:
        chunks = list(recording.chunks)
    for number in range(2, len(chunks)):
        chunk = chunks[number]
        if chunk.recovered:
            continue
        damaged = bytearray(data)
        damaged[chunk.offset + HEADER_SIZE + 3] ^= 0x10
        (tmp_path / "region").write_bytes(damaged)
        with Recording.open(tmp_path / "region") as recording:
            assert [loss.events for loss in recording.losses] == [chunk.header.event_count]
            assert recording.event_count == sum(
                other.header.event_count for other in chunks if other is not chunk
            )


def test_a_reset_between_the_stores_of_a_closed_chunk(tmp_path: Path) -> None:
    """The chunk is closed, and the region's header not brought up to date: also where the next one
    is in the next lap, so that the closed one stands behind it."""
    rng = random.Random(4)
    written = generated(rng, 400, 2000)
    before = [log_driver.header_request(), *map(log_driver.event_request, written)]
    wrapped = 0
    for end in range(200, 400, 3):
        _, opened = log_driver.write(before[: end + 1], tmp_path / "open", SMALLEST, "ring")
        requests = [*before[: end + 1], log_driver.flush_request()]
        _, closed = log_driver.write(requests, tmp_path / "closed", SMALLEST, "ring")
        header = RegionHeader.unpack(opened)
        torn = header.pack() + closed[RegionHeader.STRUCT.size :]
        (tmp_path / "torn").write_bytes(torn)
        with Recording.open(tmp_path / "torn") as recording:
            assert recording.losses == []
            first = recording.chunks[1].header.first_event
            assert first + recording.event_count == end
        wrapped += header.taken != 0
    assert wrapped


def test_the_last_events_in_a_machine(tmp_path: Path) -> None:
    """Across the place where the ring began anew."""
    rng = random.Random(7)
    written = generated(rng, 700, 1000)
    requests = [log_driver.header_request(), *map(log_driver.event_request, written)]
    for end in range(600, 700, 9):
        _, data = log_driver.write(requests[: end + 1], tmp_path / "region", SMALLEST, "ring")
        with Recording.open(tmp_path / "region") as recording:
            kept = [comparable(event) for event in recording.events()]
        for count in (1, 50, len(kept) // 2, len(kept)):
            found = last_events_of(lambda at, size: data[at : at + size], count)  # noqa: B023
            assert [comparable(event) for event in found] == kept[-count:]


def test_an_event_that_is_larger_than_the_ring(tmp_path: Path) -> None:
    small = generated(random.Random(5), 20, 100)
    huge = replace(small[5], event=replace(small[5].event, payload=layout.Mark(bytes(131072))))
    requests = [log_driver.header_request()]
    requests += [log_driver.event_request(item) for item in (*small[:5], huge, *small[5:])]
    codes, _ = log_driver.write(requests, tmp_path / "region", 2 * PAGE + CHUNK_PAYLOAD_MAX, "ring")
    assert codes[6] == ERR_NO_SPACE
    assert codes.count(OK) == len(codes) - 1
    check_region(tmp_path / "region", small, SMALLEST, 100)


def test_info_says_what_is_there(tool: Tool, tmp_path: Path) -> None:
    """A replay can begin at an epoch after which nothing is missing."""
    rng = random.Random(8)
    written = generated(rng, 2000, 1000)
    requests = [log_driver.header_request()]
    epochs = []
    for index, item in enumerate(written):
        if index % 15 == 0:
            requests += [log_driver.flush_request()]
        if index % 75 == 50:
            event = replace(item.event, payload=layout.Epoch(b"state"))
            requests += [log_driver.flush_request()]
            item, written[index] = (replace(item, event=event),) * 2
            epochs.append(event)
        requests.append(log_driver.event_request(item))
    _, data = log_driver.write(requests, tmp_path / "region", SMALLEST, "ring")
    with Recording.open(tmp_path / "region") as recording:
        kept = list(recording.events())
        chunks = list(recording.chunks)
    left = [event for event in kept if event.name == "EPOCH"]
    assert 1 < len(left) < len(epochs)
    assert kept[0].name != "EPOCH"
    facts = json.loads(tool("info", tmp_path / "region", "--json")[1])
    assert facts["complete"]
    assert facts["overwritten"]["events"] == kept[0].index
    assert facts["overwritten"]["chunks"] == chunks[1].header.seq - 1
    assert facts["epochs"] == len(left)
    assert facts["oldest_epoch"] == {"event": left[0].index, "branches": left[0].branches}
    code, text, _ = tool("info", tmp_path / "region")
    assert code == 0
    assert re.search(rf"^oldest_epoch.event +{left[0].index}$", text, re.MULTILINE)
    # With the first of them damaged.
    place = next(chunk for chunk in chunks if chunk.header.first_event == left[0].index)
    damaged = bytearray(data)
    damaged[place.offset + HEADER_SIZE + 3] ^= 0x10
    (tmp_path / "region").write_bytes(damaged)
    code, text, _ = tool("info", tmp_path / "region", "--json")
    assert code == 3
    assert json.loads(text)["oldest_epoch"]["event"] == left[1].index


def test_the_recording_id_is_kept(tmp_path: Path) -> None:
    rng = random.Random(6)
    written = generated(rng, 300, 3000)
    log_driver.write(ring_requests(rng, written, 0), tmp_path / "region", SMALLEST, "ring")
    with Recording.open(tmp_path / "region", RECORDING_ID) as recording:
        assert recording.end() is None
        assert recording.region is not None and recording.region.has_overwritten
