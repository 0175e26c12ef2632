"""Runs a machine by a recording's log."""

from __future__ import annotations

import dataclasses
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvmm import recording_dir
from lvmm.board import Board
from lvmm.emulator import MAX_MEMORY_MIB
from lvmm.errors import RecordingError
from lvmm.kept_checkpoints import KeptCheckpoints
from lvmm.logs import Event, Recording
from lvmm.machine_run import RunResult, StopRequest, Visitor, run_machine
from lvmm.monitor_build import monitor_elf
from lvmm.recording_dir import Manifest
from lvmm.replaying.verdict import ReplayVerdict, judge
from lvmm.session import (
    RunSettings,
    check_space,
    monitor_image,
    raise_run_error,
    run_options,
    with_log,
)
from lvmm.vmcore.replay_core import PASSED_OVER, ReplayCore, check_stop, cut_log

# From one checkpoint to the next, for a debugger: a fraction of a second of emulation.
CHECKPOINT_BRANCHES = 2_000_000


def replay(
    board: Board,
    directory: Path,
    settings: RunSettings,
    keep_run: Path | None = None,
    stop: StopRequest | None = None,
    core: ReplayCore | None = None,
    visitor: Visitor | None = None,
) -> ReplayVerdict:
    """Replays a recording on a fresh machine without a network, and compares everything.

    A divergence is part of the verdict, not an exception. `keep_run` names a directory for the
    machine's own logs; `core` is written where the replay has ended. A `visitor` looks at it
    on the way. Raises KeyboardInterrupt when a stop request came before the end.
    """
    log = directory / recording_dir.LOG
    with replayed(board, directory, settings, log, keep_run, stop, core, visitor) as run:
        if run.result.report.divergence is None:
            raise_run_error(run.result)
        if core is not None:
            core.save(directory, run.ram)
        return judge(board, directory, run.manifest, run.ram, run.result, run.seed)


def replay_until(
    board: Board, directory: Path, settings: RunSettings, core: ReplayCore | None, until: int
) -> Event:
    """Replays a recording up to before an event, and writes the core, if any; returns that event.

    Raises DivergenceError when the replay left the recording before.
    """
    with tempfile.TemporaryDirectory(prefix="lvmm-until-") as scratch:
        log = Path(scratch) / recording_dir.LOG
        due = cut_log(directory, until, log)
        with replayed(board, directory, settings, log, core=core) as run:
            if run.result.report.divergence is None:
                raise_run_error(run.result)
            check_stop(due, run.result.report.divergence)
            if core is not None:
                core.save(directory, run.ram)
    return due


def replay_to_last_event(
    board: Board, directory: Path, settings: RunSettings, core: ReplayCore | None = None
) -> Event:
    """Likewise, of a recording without an end: up to the last event that replay does not pass over.

    Raises RecordingError where it has none.
    """
    with Recording.open(directory) as recording:
        last = None
        for event in recording.events():
            if event.kind not in PASSED_OVER:
                last = event
    if last is None:
        raise RecordingError(f"{directory}: the log has no event that a replay could come to")
    return replay_until(board, directory, settings, core, last.index)


@dataclass(frozen=True)
class Replayed:
    """A replay that has ended, and the machine's memory."""

    manifest: Manifest
    result: RunResult
    ram: Path
    seed: int


@contextmanager
def replayed(
    board: Board,
    directory: Path,
    settings: RunSettings,
    log: Path,
    keep_run: Path | None = None,
    stop: StopRequest | None = None,
    core: ReplayCore | None = None,
    visitor: Visitor | None = None,
) -> Iterator[Replayed]:
    """Runs the replay of a recording by the log, which may be a part of its own.

    With a visitor the guest waits for it before its first instruction, and a stop request is its.
    """
    if (settings.gdb or settings.attach) and not settings.checkpoints:
        settings = dataclasses.replace(settings, checkpoints=CHECKPOINT_BRANCHES)
    if settings.checkpoints:
        board = with_room_for_checkpoints(board)
    manifest = recording_dir.read_manifest(directory)
    recording_dir.verify_files(directory, manifest)
    recording_dir.check_replayable(directory / manifest.log.path)
    guest = recording_dir.recorded_guest(directory, manifest)
    with tempfile.TemporaryDirectory(prefix="lvmm-replay-") as scratch:
        check_space(Path(scratch), guest, board)
        image = Path(scratch) / "boot.iso"
        run_dir = keep_run or Path(scratch) / "run"
        ram = run_dir / "ram.img"
        words = {**settings.words(), **({"wait": "1"} if visitor is not None else {})}
        kept = None
        if settings.from_end and (debugger := settings.gdb or settings.attach):
            monitor, total_mib = monitor_elf(board.name), board.memory.total_mib
            kept = KeptCheckpoints(directory, log, monitor, total_mib, debugger.say)
        resumes = kept is not None and kept.load(ram)
        if resumes:
            words["resume"] = "1"
        monitor_image(board, guest, "replay", image, log=log, words=words)
        options = run_options(
            settings,
            net_port=None,
            start_time=int(time.time()) + random.SystemRandom().randrange(1, 1 << 26),
            ring_console=True,
            marks=settings.marks,
            at_end=core.take_registers if core is not None else None,
            visitor=visitor,
            warm=resumes,
            on_end=(lambda link: kept.save(link, ram)) if kept and not resumes else None,
        )
        options = with_log(options, directory)
        result = run_machine(board, image, run_dir, options, stop)
        if result.interrupted and visitor is None:
            raise KeyboardInterrupt
        try:
            yield Replayed(manifest, result, ram, options.seed)
        finally:
            if keep_run is not None:
                ram.unlink(missing_ok=True)


def with_room_for_checkpoints(board: Board) -> Board:
    """The same board with more RAM, which the monitor keeps from the replayed guest."""
    total = max(board.memory.total_mib, MAX_MEMORY_MIB)
    return dataclasses.replace(board, memory=dataclasses.replace(board.memory, total_mib=total))
