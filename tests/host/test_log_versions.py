"""Logs of older format versions are read: data/ has one that the lvmm of its day wrote."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.host import extract_tool
from tests.host.extract_tool import Tool, of_version

from lvmm.errors import VersionMismatch
from lvmm.logs import Recording, layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.layout import FORMAT_VERSION
from lvmm.logs.statistics import PythonCounter, count, fast_counter
from lvmm.recording_dir import check_replayable

pytestmark = pytest.mark.host

tool = extract_tool.tool

VERSION_4 = Path(__file__).parent / "data" / "version4.lvmm"
VERSION_5 = Path(__file__).parent / "data" / "version5.lvmm"


def events_of_version_4() -> list[Event]:
    """What was written then: a driver's rounds with what comes between, and each simple kind."""
    rng = random.Random(4)
    page, state = bytes(range(256)) * 16, bytes(layout.FinalState.STRUCT.size)
    kinds: list[layout.Payload] = [
        layout.FirmwarePage(0xF0000, page),
        layout.Rdmsr(0x1B, 0, 0xFEE00900),
        layout.Rdrand(8, 1, 0x1234567890ABCDEF),
        layout.Rdseed(4, 1, 77),
        layout.Rdpmc(1, 5),
        layout.Mark(b"a mark"),
        layout.Task(17, b"init"),
        layout.ConsoleLine(100),
        layout.InString(0x1F0, 2, b"0123456789"),
    ]
    found: list[Event] = []
    branches = 0

    def add(payload: layout.Payload, rip: int, **flags: bool) -> None:
        nonlocal branches
        if flags.get("same_position"):
            found.append(Event(payload, branches, found[-1].rip, **flags))
            return
        branches += rng.choice([3, 3, 7, 1000])
        gpr = tuple(rng.choice([1, index << 40]) for index in range(16))
        registers = Registers(gpr, rip, 0x246)
        event = Event(payload, branches, rip, check=registers.check(0), **flags)
        event.registers = registers if rng.random() < 0.1 else None
        found.append(event)

    for number in range(60):
        add(layout.Dma(1, 0x10000 + 0x800 * number, rng.randbytes(20)), 0x401E90, asynchronous=True)
        add(
            layout.Dma(2, 0x8000 + 16 * number, b"\1\0\0\0\0\0\0" + bytes([number % 5])),
            0,
            asynchronous=True,
            same_position=True,
        )
        add(layout.Time(10_000 * number + 77), 0, same_position=True)
        add(layout.Interrupt(0x3B), 0, asynchronous=True, same_position=True)
        add(layout.MmioRead(0xFEBC00C0, 4, rng.choice([0x80, 0x80, 3])), 0xFFFFFFFFC0524E52)
        add(layout.In(0xA1, 1, 0xE4), 0xFFFFFFFFBB037DBB)
        add(layout.Rdtsc(10_000 * number + 3000), 0xFFFFFFFFBB6B852A)
        if number % 5 == 0:
            add(rng.choice(kinds), 0xFFFFFFFFBB000000 + 64 * number)
        if number % 7 == 0:
            add(layout.Sent(3, 3, 60, rng.randbytes(60)), 0xFFFFFFFFC05271CB)
        if number % 9 == 0:
            add(layout.Interrupt(0xEC), rng.choice([0x401E90, 0x401028]), asynchronous=True)
    add(layout.End(2, state), 0xFFFFFFFFBB000000)
    return [Event(**{**fields(event), "index": index}) for index, event in enumerate(found)]


def events_of_version_5() -> list[Event]:
    """The same with times as they could be stored then, and frequent kinds mostly unchecked."""
    events = events_of_version_4()
    for number, event in enumerate(events):
        if isinstance(event.payload, layout.Time):
            event.payload = layout.Time(event.payload.tsc & ~0xFF)
        if isinstance(event.payload, layout.In | layout.MmioRead | layout.Rdtsc) and number % 8:
            event.check = event.registers = None
    return events


OLDER = {4: (VERSION_4, events_of_version_4), 5: (VERSION_5, events_of_version_5)}


def fields(event: Event) -> dict[str, object]:
    """An event's fields by name."""
    return {name: getattr(event, name) for name in event.__slots__}


@pytest.mark.parametrize("version", OLDER)
def test_an_older_version_is_read(version: int) -> None:
    path, expected = OLDER[version]
    with Recording.open(path) as recording:
        events = [Event(**{**fields(e), "offset": 0, "size": 0}) for e in recording.events()]
        assert not recording.losses
        assert recording.chunks[0].header.format_version == version
    assert events == expected()


@pytest.mark.parametrize("version", OLDER)
def test_both_counters_count_an_older_version(version: int) -> None:
    """The one in C leaves it to the one in Python."""
    path, expected = OLDER[version]
    found = []
    for counter in (PythonCounter(), fast_counter()):
        assert counter is not None, "the decoder in C was not built"
        with Recording.open(path) as recording:
            found.append(count(recording, counter))
            assert not recording.losses
    assert found[0] == found[1]
    assert found[0].events == len(expected())


@pytest.mark.parametrize("version", [2, 3])
def test_versions_2_and_3_are_stored_alike(version: int, tmp_path: Path) -> None:
    path = tmp_path / "log.lvmm"
    path.write_bytes(of_version(VERSION_4.read_bytes(), version))
    with Recording.open(path) as recording:
        kinds = [event.name for event in recording.events()]
        assert not recording.losses
    assert kinds == [event.name for event in events_of_version_4()]


def test_the_tool_reads_version_4(tool: Tool) -> None:
    code, out, err = tool("verify", VERSION_4, "--json")
    assert (code, err) == (0, "")
    code, out, _ = tool("stats", VERSION_4)
    assert code == 0
    assert "MMIO_READ" in out


def test_a_chunk_of_another_version_is_damage(tmp_path: Path) -> None:
    """Both counters say so at the same place."""
    log = VERSION_4.read_bytes()
    offsets = extract_tool.chunk_offsets(log)
    path = tmp_path / "log.lvmm"
    path.write_bytes(of_version(log[: offsets[1]], FORMAT_VERSION) + log[offsets[1] :])
    losses = []
    for counter in (PythonCounter(), fast_counter()):
        assert counter is not None, "the decoder in C was not built"
        with Recording.open(path) as recording:
            count(recording, counter)
            losses.append([(loss.offset, loss.events) for loss in recording.losses])
    assert losses[0] == losses[1] != []


def test_an_older_log_is_not_replayed(tmp_path: Path) -> None:
    with pytest.raises(
        VersionMismatch, match=f"version 4, this lvmm replays version {FORMAT_VERSION}: use"
    ):
        check_replayable(VERSION_4)
    log = tmp_path / "log.lvmm"
    with pytest.raises(VersionMismatch, match="version 5"):
        check_replayable(VERSION_5)
    log.write_bytes(of_version(VERSION_4.read_bytes(), FORMAT_VERSION))
    check_replayable(log)
