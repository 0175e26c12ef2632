"""Recordings of a part of a run, which the guest starts and stops."""

import dataclasses
from pathlib import Path

import pytest
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    assert_identical,
    events_of,
    record_tiny,
    replay,
    tampered,
    tiny,
)

from lvmm import cli, recording_dir, session
from lvmm.errors import RecordingError
from lvmm.logs.layout import Begin, Content, CpuState, EndReason, RamPage, Task
from lvmm.session import RunSettings

ON_DEMAND = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, on_demand=True)

pytestmark = pytest.mark.xdist_group(__name__)  # one worker: they share a recording


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("on-demand") / "recording"
    manifest = session.record(BOARD, tiny("on_demand"), ON_DEMAND, directory)
    assert manifest.end_reason == "guest-stop"
    return directory


def test_what_is_recorded(part: Path) -> None:
    events = events_of(part)
    begin, pages = events[0], [e for e in events if isinstance(e.payload, RamPage)]
    assert isinstance(begin.payload, Begin)
    assert [e.index for e in pages] == list(range(1, len(pages) + 1))
    state = CpuState.unpack(begin.payload.state[: CpuState.STRUCT.size])
    assert state.state.branches == begin.branches > 0
    console = (part / "console.log").read_text()
    assert console.startswith("start: 00000000\n")
    assert console.endswith("start again: fffffffc\n")
    tasks = [e.payload for e in events if isinstance(e.payload, Task)]
    assert [(task.number, task.name) for task in tasks] == [
        (0, b"even"),
        (1, b"odd"),
        (2, b"even"),
    ]
    content, end = events[-2:]
    assert isinstance(content.payload, Content)
    assert content.payload.console_bytes == state.console_bytes + len(console)
    assert end.name == "END"
    assert end.payload.reason == EndReason.GUEST_STOP


@pytest.mark.parametrize("seed", [3, 4])
def test_it_replays_identically(part: Path, tmp_path: Path, seed: int) -> None:
    verdict = replay(part, seed, tmp_path / "replay")
    assert_identical(verdict)
    assert verdict.end_reason == "guest-stop"


@pytest.mark.parametrize("what", ["memory_crc32c", "console_bytes"])
def test_other_content_is_a_divergence(part: Path, tmp_path: Path, what: str) -> None:
    events = events_of(part)
    content = events[-2].payload
    changed = dataclasses.replace(content, **{what: getattr(content, what) + 1})
    events[-2] = dataclasses.replace(events[-2], payload=changed)
    tampered(part, tmp_path / "planted", events)
    verdict = replay(tmp_path / "planted", 3, tmp_path / "run")
    assert verdict.divergence is not None
    assert not verdict.identical


def test_other_memory_at_the_start_is_found(part: Path, tmp_path: Path) -> None:
    events = events_of(part)
    index = next(
        event.index
        for event in events
        if isinstance(event.payload, RamPage) and event.payload.data.count(0) > 4000
    )
    payload = events[index].payload
    assert isinstance(payload, RamPage)
    page = bytearray(payload.data)
    at = page.index(0)
    page[at] = 1
    events[index] = dataclasses.replace(events[index], payload=RamPage(payload.gpa, bytes(page)))
    tampered(part, tmp_path / "planted", events)
    assert not replay(tmp_path / "planted", 3, tmp_path / "run").identical


@pytest.mark.parametrize("damage", ["short", "registers", "no memory"])
def test_a_damaged_beginning_is_refused(
    part: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    events = events_of(part)
    begin = events[0].payload
    assert isinstance(begin, Begin)
    match damage:
        case "short":
            changed = begin.state[:100]
        case "registers":  # an address that is not canonical
            state = CpuState.unpack(begin.state[: CpuState.STRUCT.size])
            state = dataclasses.replace(state, lstar=1 << 60)
            changed = state.pack() + begin.state[CpuState.STRUCT.size :]
        case _:
            changed = begin.state
            first = events[1].payload
            assert isinstance(first, RamPage)
            page = RamPage(0x40000000, first.data)  # the monitor's own
            events[1] = dataclasses.replace(events[1], payload=page)
    events[0] = dataclasses.replace(events[0], payload=Begin(changed))
    tampered(part, tmp_path / "planted", events)
    assert cli.main(["replay", str(tmp_path / "planted"), "--seed", "1"]) == 6
    assert "the recording begins" in capsys.readouterr().err


def test_a_guest_that_does_not_start_it(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="the recording was not started"):
        session.record(BOARD, tiny("hello"), ON_DEMAND, tmp_path / "recording")
    assert not (tmp_path / "recording").exists()


def test_a_recording_from_the_start_can_be_ended(tmp_path: Path) -> None:
    recording = record_tiny("on_demand", tmp_path / "recording")
    assert recording_dir.read_manifest(recording).end_reason == "guest-stop"
    console = (recording / "console.log").read_text()
    assert "stop too early: 00000000\n" not in console
    assert_identical(replay(recording, 3, tmp_path / "replay"))
