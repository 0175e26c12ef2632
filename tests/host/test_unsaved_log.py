"""What the monitor takes for an unsaved log at its start: it must not write there."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from tests.host import log_driver
from tests.host.extract_tool import EVENTS, REGION_SIZE, chunk_offsets, log_of, region_of
from tests.host.log_driver import RECORDING_ID, FoundLog, found_log

from lvmm.logs.layout import FORMAT_VERSION, RegionHeader, RegionState

pytestmark = pytest.mark.host

DAMAGED = FoundLog(FORMAT_VERSION, RECORDING_ID, 0, 0, False, True)


def events(*requests: bytes) -> list[bytes]:
    """The requests to write a log, which ends with these."""
    written = [log_driver.event_request(item) for item in EVENTS]
    return [log_driver.header_request(), *written, *requests]


def test_a_log_that_nobody_has_taken(tmp_path: Path) -> None:
    for requests in ((), (log_driver.seal_request(RegionState.SEALED),)):
        _, region = log_driver.write(events(*requests), tmp_path / "region")
        found = found_log(region, tmp_path)
        assert found is not None
        assert (found.recording_id, found.events) == (RECORDING_ID, len(EVENTS))
        assert not found.taken and not found.damaged


def test_a_log_that_a_tool_has_stored(tmp_path: Path) -> None:
    """All of it, after it was sealed: else the rest is in memory only."""
    seal = log_driver.seal_request(RegionState.SEALED)
    failed = log_driver.seal_request(RegionState.FAILED)
    take, most = log_driver.take_request(), log_driver.take_request(8)
    for requests, taken in (
        ((seal, take), True),
        ((seal, most, take), True),
        ((seal, most), False),
        ((take, seal), False),
        ((take, seal, take), True),
        ((failed, take), False),
    ):
        _, region = log_driver.write(events(*requests), tmp_path / "region")
        found = found_log(region, tmp_path)
        assert found is not None and found.taken == taken, requests
        state = RegionHeader.unpack(region).state
        assert (state == RegionState.TAKEN) == taken


def test_memory_that_holds_nothing(tmp_path: Path) -> None:
    assert found_log(bytes(REGION_SIZE), tmp_path) is None
    assert found_log(random.Random(1).randbytes(REGION_SIZE), tmp_path) is None
    _, formatted = log_driver.write([], tmp_path / "region")
    assert found_log(formatted, tmp_path) is None


@pytest.mark.parametrize("at", [0, 8, 20, 40])
def test_a_region_whose_header_is_damaged(at: int, tmp_path: Path) -> None:
    region = bytearray(region_of())
    region[at] ^= 0x10
    assert found_log(bytes(region), tmp_path) == DAMAGED


def test_one_intact_chunk_is_enough(tmp_path: Path) -> None:
    """Wherever it is, and with a header page full of anything."""
    rng = random.Random(2)
    log = bytes(log_of().data)
    offsets = [*chunk_offsets(log), len(log)]
    for start, end in itertools.pairwise(offsets):
        for place in (4096, 4096 + 8 * rng.randrange(1000), (5 << 20) + 8 * rng.randrange(1000)):
            region = bytearray(6 << 20)
            region[:4096] = rng.randbytes(4096)
            region[5 << 20 :] = rng.randbytes(1 << 20)  # far behind, only what is full is searched
            region[place : place + end - start] = log[start:end]
            assert found_log(bytes(region), tmp_path) == DAMAGED, (start, place)
            region[place + 20] ^= 1
            assert found_log(bytes(region), tmp_path) is None


def test_what_begins_like_a_chunk(tmp_path: Path) -> None:
    region = bytearray(b"LVCK" * (REGION_SIZE // 4))
    assert found_log(bytes(region), tmp_path) is None
    region[:] = bytes(REGION_SIZE)
    log = bytes(log_of().data)
    region[-40:] = log[:40]  # cut off by the region's end
    assert found_log(bytes(region), tmp_path) is None
