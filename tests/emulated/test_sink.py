"""The log taken over the monitor's line while the guest runs, through a region that it outgrows."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

from tests.emulated.machine import (
    BOARD,
    RECORD_TIMEOUT_S,
    assert_identical,
    replay,
    start_cli,
    tiny,
    wait_for,
)
from tests.emulated.relay import Relay

from lvmm import session
from lvmm.emulator import Emulator
from lvmm.guest_build import tiny_guest
from lvmm.logs import Recording
from lvmm.logs.layout import RegionHeader, RegionState
from lvmm.recording_dir import Manifest
from lvmm.session import LOG_MIN_KIB, RunSettings, Sink

# The line has 115,200 baud of emulated time: at this speed of the processor it is soon through.
FAST_DEVICES = 5_000_000


def record(directory: Path, sink: Sink, look: Callable[[Path], None] | None = None) -> Manifest:
    settings = RunSettings(
        seed=1, timeout_s=RECORD_TIMEOUT_S, log_kib=LOG_MIN_KIB, sink=sink, ips=FAST_DEVICES
    )
    return session.record(BOARD, tiny("flood"), settings, directory, before_extraction=look)


def state_in(ram: Path) -> int:
    """The state of the log region in a machine's memory."""
    with ram.open("rb") as file:
        file.seek(BOARD.memory.log_base)
        return RegionHeader.unpack(file.read(RegionHeader.STRUCT.size)).state


def test_a_log_larger_than_its_region(tmp_path: Path) -> None:
    states: list[int] = []
    manifest = record(tmp_path / "recording", Sink.SERIAL, lambda ram: states.append(state_in(ram)))
    assert states == [RegionState.TAKEN], "the next monitor took it for an unsaved log"
    assert manifest.end_reason == "reset"
    assert manifest.log.size > (LOG_MIN_KIB - 64) << 10, "it has all fitted"
    with Recording.open(tmp_path / "recording") as recording:
        assert not recording.losses
        assert [chunk.header.seq for chunk in recording.chunks] == list(
            range(len(recording.chunks))
        )
    assert_identical(replay(tmp_path / "recording", 3, tmp_path / "replay"))


def test_a_region_that_is_full_ends_the_recording(tmp_path: Path) -> None:
    """Where nobody takes the log."""
    states: list[int] = []
    manifest = record(tmp_path / "recording", Sink.MEMORY, lambda ram: states.append(state_in(ram)))
    assert states == [RegionState.SEALED]
    assert manifest.end_reason == "log-full"
    assert_identical(replay(tmp_path / "recording", 3, tmp_path / "replay"))


def test_attach_takes_the_log(tmp_path: Path) -> None:
    """As of a server whose boot image has the sink: the guest has more to say than its region
    holds, so that it waits for the tool."""
    image = tmp_path / "boot.iso"
    settings = RunSettings(log_kib=LOG_MIN_KIB, sink=Sink.SERIAL)
    session.monitor_image(BOARD, tiny("flood"), "record", image, words=settings.words())
    log = tmp_path / "log.lvmm"
    with Emulator(BOARD, iso=image, run_dir=tmp_path / "run", ips=FAST_DEVICES) as emulator:
        relay = Relay(emulator.monitor)
        try:
            wait_for(lambda: b'"lvmm":"running"' in relay.text, 120, "the guest's start")
            arguments = ["attach", "--serial", relay.address, "--save-log", log]
            process = start_cli(arguments, tmp_path / "first")
            wait_for(lambda: log.exists() and log.stat().st_size > 50000, 120, "a part of the log")
            process.kill()
            process.wait()
            process = start_cli(arguments, tmp_path / "second")
            wait_for(lambda: _complete(log), RECORD_TIMEOUT_S, "the whole log")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, (tmp_path / "second.err").read_text()
        finally:
            relay.close()
    with Recording.open(log) as recording:
        assert not recording.losses
        assert recording.log_bytes == log.stat().st_size


def _complete(log: Path) -> bool:
    with Recording.open(log) as recording:
        return recording.end() is not None


def test_the_command(tmp_path: Path) -> None:
    output = tmp_path / "first"
    process = start_cli(
        [
            *("record", "--multiboot", tiny_guest("timer"), "--memory", 16, "--seed", 1),
            *("--sink", "serial", "--log-size", LOG_MIN_KIB, "-o", output, "--json"),
        ],
        tmp_path / "record",
    )
    assert process.wait(RECORD_TIMEOUT_S) == 0, (tmp_path / "record.err").read_text()
    assert json.loads((tmp_path / "record.out").read_text())["end_reason"] == "triple-fault"
    assert_identical(replay(output, 3, tmp_path / "replay"))
