"""Recordings into a ring: the newest epochs are left, and replay."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    TINY_MEMORY_MIB,
    assert_identical,
    replay,
    start_cli,
    wait_for,
)
from tests.host.extract_tool import load_tool

from lvmm import cli, guest_build, netpeer, replaying, session
from lvmm.console_ring import log_bytes
from lvmm.echo_peer import EchoPeer
from lvmm.emulator import Emulator
from lvmm.guest import Guest
from lvmm.logs import Event, Recording
from lvmm.logs.layout import NOTES, EventKind
from lvmm.recording_dir import Manifest
from lvmm.session import RING_MIN_KIB, RingSettings, RunSettings

# With epochs of 100 ms their log is more than ten times the smallest ring.
REQUESTS = 1300
RING = RingSettings(RING_MIN_KIB, epoch_ms=100)
GUEST = Guest("multiboot", guest_build.appliance(), "", TINY_MEMORY_MIB)

pytestmark = pytest.mark.xdist_group(__name__)  # one worker: they share a recording


def settings(port: int) -> RunSettings:
    return RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S, net_port=port, ring=RING)


@dataclasses.dataclass(frozen=True)
class Run:
    directory: Path
    manifest: Manifest
    log_bytes: int  # in all


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The appliance's network workload."""
    directory = tmp_path_factory.mktemp("ring") / "recording"
    written: list[int] = []
    port = netpeer.free_port()
    peer = EchoPeer(port, REQUESTS, 1)
    peer.start()
    try:
        manifest = session.record(
            BOARD,
            GUEST,
            settings(port),
            directory,
            before_extraction=lambda ram: written.append(log_bytes(ram, BOARD.memory.log_base)),
        )
    finally:
        result = peer.stop()
    assert result.complete, result
    return Run(directory, manifest, written[0])


def events_of(directory: Path) -> list[Event]:
    with Recording.open(directory) as recording:
        assert not recording.losses
        return list(recording.events())


def test_a_ring_that_was_overwritten_ten_times_replays(run: Run, tmp_path: Path) -> None:
    """What is left is an ordinary recording: it is replayed from its beginning to its end."""
    assert run.log_bytes >= 10 * RING.kib << 10
    assert run.manifest.events["EPOCH"] > 50
    events = events_of(run.directory)
    assert events[0].kind == EventKind.BEGIN
    assert events[0].branches > run.manifest.branches // 2
    assert any(event.kind == EventKind.EPOCH for event in events)
    assert sum(event.kind == EventKind.DMA for event in events) > 50
    assert (run.directory / "console.log").read_text().splitlines()[-1].startswith("appliance: ")
    assert_identical(replay(run.directory, 3, tmp_path / "replay"))


def after_dma(events: list[Event], kind: EventKind, asked: bool) -> Event:
    """The first of its kind that follows DMA at the same place: with `asked`, DMA that became
    visible when the guest accessed a device."""
    for before, event in itertools.pairwise(e for e in events if e.kind not in NOTES):
        if (
            (before.kind, before.asynchronous) == (EventKind.DMA, not asked)
            and (before.branches, before.rip) == (event.branches, event.rip)
            and event.kind == kind
        ):
            return event
    raise AssertionError(f"no {kind.name} after DMA at the same place")


@pytest.mark.parametrize(
    ("kind", "asked"),
    [(EventKind.INTERRUPT, False), (EventKind.MMIO_READ, True), (EventKind.DMA, True)],
)
def test_a_replay_stops_where_dma_came_before(run: Run, kind: EventKind, asked: bool) -> None:
    """An interrupt has the position of the DMA that it announces; DMA that the guest finds when it
    accesses a device, that of the access."""
    due = after_dma(events_of(run.directory), kind, asked)
    seeds = RunSettings(seed=3, timeout_s=RECORD_TIMEOUT_S)
    stopped = replaying.replay_until(BOARD, run.directory, seeds, None, due.index)
    assert stopped.index == due.index


def test_a_run_that_was_killed(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The emulator goes down in the middle: the machine's memory is all that is left. What is left
    of the log replays to its last event."""
    image = tmp_path / "boot.iso"
    port = netpeer.free_port()
    session.monitor_image(BOARD, GUEST, "record", image, words=settings(port).words())
    ram = tmp_path / "run" / "ram.img"
    peer = EchoPeer(port, REQUESTS, 1)
    peer.start()
    try:
        with Emulator(BOARD, iso=image, run_dir=tmp_path / "run", net_port=port):
            wait_for(
                lambda: log_bytes(ram, BOARD.memory.log_base) > run.log_bytes // 2,
                RECORD_TIMEOUT_S,
                "half of the log",
            )
    finally:
        peer.stop()
    with Recording.open(ram) as recording:
        assert recording.end() is None
        assert recording.overwritten is not None
    folder = tmp_path / "extracted"
    assert load_tool().main(["extract", str(ram), "-o", str(folder)]) == 0
    last = [event for event in events_of(folder) if event.kind not in NOTES][-1]
    image = guest_build.appliance()
    command = ["replay", folder, "--image", image, "--seed", 3, "--json"]
    capsys.readouterr()
    assert cli.main([str(word) for word in command]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["before_event"], said["branches"]) == (last.index, last.branches)


def test_the_command_and_a_guest_that_starts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recording begins with the epoch where the guest asks for it, and is not overwritten. The
    log alone is replayed, with the guest's file."""
    output = tmp_path / "recording"
    process = start_cli(
        [
            *("record", "--multiboot", guest_build.tiny_guest("on_demand"), "--memory", 16),
            *("--seed", 1, "--ring", "1M", "--overwrite", "--epoch-events", 200, "--on-demand"),
            *("-o", output, "--json"),
        ],
        tmp_path / "record",
    )
    assert process.wait(RECORD_TIMEOUT_S) == 0, (tmp_path / "record.err").read_text()
    assert json.loads((tmp_path / "record.out").read_text())["end_reason"] == "guest-stop"
    kinds = [event.kind for event in events_of(output)]
    assert kinds[0] == EventKind.BEGIN
    assert kinds.count(EventKind.EPOCH) > 1
    image = guest_build.tiny_guest("on_demand")
    command = ["replay", output / "log.lvmm", "--image", image, "--seed", 3]
    assert cli.main([str(word) for word in command]) == 0
    said = capsys.readouterr().out
    assert "not known: a log alone" in said
    assert "the replay is identical" in said
