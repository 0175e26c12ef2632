"""What the tests that boot the machine share."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lvmm import guest_build, recording_dir, replaying, session
from lvmm.board import Board, load_board
from lvmm.guest import Guest
from lvmm.guest_build import ROOT
from lvmm.logs import Event, Recording
from lvmm.logs.writer import LogWriter
from lvmm.machine_run import Visitor
from lvmm.replaying import ReplayVerdict
from lvmm.session import RunSettings
from lvmm.vmcore.replay_core import ReplayCore

RECORD_TIMEOUT_S = 240.0
REPLAY_TIMEOUT_S = 480.0
TINY_MEMORY_MIB = 16

# How guests end by themselves, or their recordings.
ENDS = ("halt", "reset", "triple-fault", "guest-panic", "guest-stop")

BOARD: Board = load_board("bochs-vtx")


def tiny(name: str) -> Guest:
    return Guest("multiboot", guest_build.tiny_guest(name), "", TINY_MEMORY_MIB)


def boot_sector(name: str) -> Guest:
    return Guest("sector", guest_build.boot_sector(name), "", TINY_MEMORY_MIB)


def record_tiny(name: str, directory: Path, seed: int = 1, *, as_disk: bool = False) -> Path:
    """Records a tiny guest; returns the recording's directory."""
    return record_guest(tiny(name), directory, seed, as_disk=as_disk)


def record_guest(guest: Guest, directory: Path, seed: int = 1, *, as_disk: bool = False) -> Path:
    """Records a guest that ends by itself; returns the recording's directory."""
    settings = RunSettings(seed=seed, timeout_s=RECORD_TIMEOUT_S, as_disk=as_disk)
    manifest = session.record(BOARD, guest, settings, directory)
    assert manifest.end_reason in ENDS, manifest.end_reason
    return directory


def replay(
    directory: Path,
    seed: int,
    logs: Path,
    core: ReplayCore | None = None,
    visitor: Visitor | None = None,
    timeout_s: float = REPLAY_TIMEOUT_S,
    checkpoints: int = 0,
) -> ReplayVerdict:
    """Replays a recording; the machine's logs stay in `logs`, and a core where it says."""
    settings = RunSettings(seed=seed, timeout_s=timeout_s, checkpoints=checkpoints)
    return replaying.replay(BOARD, directory, settings, keep_run=logs, core=core, visitor=visitor)


def assert_identical(verdict: ReplayVerdict) -> None:
    """Everything a verdict says, one by one, so that a failure says what differs."""
    assert verdict.divergence is None, verdict.divergence
    assert verdict.events_matched == verdict.events_total
    assert verdict.console_differs_at is None
    assert verdict.console_identical
    assert verdict.registers_identical
    assert verdict.differing_pages == []
    assert verdict.memory_identical
    assert verdict.end_reason == verdict.recorded_end_reason
    assert verdict.identical


def events_of(directory: Path) -> list[Event]:
    with Recording.open(directory) as recording:
        return list(recording.events())


def tampered(directory: Path, target: Path, events: list[Event]) -> Path:
    """A copy of a recording whose log holds `events`, with all checksums right."""
    shutil.copytree(directory, target)
    with Recording.open(directory) as recording:
        assert recording.header is not None
        writer = LogWriter(recording.recording_id, recording.header)
    for event in events:
        writer.write(event)
    writer.flush()
    (target / recording_dir.LOG).write_bytes(writer.data)
    manifest = recording_dir.read_manifest(target)
    entry = recording_dir.describe_file(target, recording_dir.LOG)
    recording_dir.write_manifest(target, dataclasses.replace(manifest, log=entry))
    return target


def start_cli(
    arguments: Sequence[object], output: Path, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Starts lvmm as a process; what it prints goes to output.out and output.err."""
    with output.with_suffix(".out").open("wb") as out, output.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "lvmm", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
            stdin=stdin,
            stdout=out,
            stderr=err,
        )


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits until the condition holds; fails the test when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Kills a process whose standard input is a pipe of ours, which may be broken."""
    process.kill()
    process.wait()
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
