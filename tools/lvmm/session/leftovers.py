"""What a recorded run leaves: saved in the directory of the recording, and described."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lvmm import __version__, recording_dir
from lvmm.board import Board
from lvmm.crash import CrashedGuest, explain_crash, save_crash
from lvmm.errors import LvmmError, RecordingError
from lvmm.guest import Guest
from lvmm.logs import Recording
from lvmm.logs.errors import MemoryGone
from lvmm.logs.event_text import event_json
from lvmm.logs.from_epoch import save_replayable
from lvmm.logs.layout import End, FinalState
from lvmm.machine_run import RunOptions, RunResult
from lvmm.memory_digest import digest_memory, ram_ranges
from lvmm.messages import say
from lvmm.recorded_part import recorded_part
from lvmm.recording_dir import Manifest

# How the monitor calls the end of a recording after which the guest runs on.
GUEST_STOP = "guest-stop"


def store_guest(guest: Guest, partial: Path) -> Guest:
    """Copies the guest's files into the recording; returns the guest made of the copies."""
    if guest.kernel is None:
        return guest
    folder = partial / recording_dir.GUEST
    kernel = folder / guest.kernel_name
    recording_dir.copy_file(guest.kernel, kernel)
    extra = []
    for index, path in enumerate(guest.extra):
        target = folder / ("initrd" if guest.kind == "linux" else f"m{index}-{path.name}")
        recording_dir.copy_file(path, target)
        extra.append(target)
    return dataclasses.replace(guest, kernel=kernel, extra=tuple(extra))


def extract(ram: Path, partial: Path, result: RunResult) -> None:
    """Saves log and console out of the memory file, as far as they are there."""
    console = result.console
    try:
        with Recording.open(ram) as recording:
            problem = save_replayable(recording, partial / recording_dir.LOG)
            region = recording.region
            if region is not None and recording.console is not None and not region.console_lost:
                console = recording.console
        if problem is not None:
            raise problem
        with Recording.open(partial / recording_dir.LOG) as recording:
            console = recorded_part(recording).of_console(console)
    except LvmmError as error:
        if result.error is None and result.report.reason != "error":
            raise
        what = "no log could be saved"
        if isinstance(error, MemoryGone):
            what = "the log is saved as it is, and cannot be replayed"
        say(f"{what}: {error}")
    (partial / recording_dir.CONSOLE).write_bytes(console)


def take_received(partial: Path, result: RunResult) -> None:
    """The log has come over the line, as far as it has; the console by its own."""
    console = result.console
    log = partial / recording_dir.LOG
    if log.exists():
        with Recording.open(log) as recording:
            console = recorded_part(recording).of_console(console)
    (partial / recording_dir.CONSOLE).write_bytes(console)


def explain(partial: Path, guest: Guest, ram: Path, result: RunResult) -> dict[str, Any] | None:
    """The report of a crash, kept in the recording; None without one, or when nothing was saved."""
    if not (partial / recording_dir.LOG).exists():
        return None
    crashed = CrashedGuest(guest.kind, guest.kernel, result.report.errors)
    report = explain_crash(partial, crashed, ram)
    if report is not None:
        save_crash(partial, report)
    return report


def describe(
    board: Board,
    source: Guest,
    guest: Guest,
    partial: Path,
    result: RunResult,
    options: RunOptions,
    monitor: Path,
) -> Manifest:
    """Describes the recording; `source` is the guest as given, `guest` made of the copies."""
    size = guest.memory_mib << 20
    ram = partial / recording_dir.RUN / "ram.img"
    with Recording.open(partial / recording_dir.LOG) as recording:
        end = recording.end()
        if recording.header is None or end is None or not isinstance(end.payload, End):
            raise RecordingError(f"{partial}: the log has no end; it was cut short")
        registers = event_json(end)
        state = FinalState.unpack(end.payload.state)
        stopped = recorded_part(recording).stopped
        # Then the guest has run on, and memory with it: the log has the monitor's own digest.
        memory = digest_memory(ram, size, [] if stopped else ram_ranges(recording.header, size))
        events_total = recording.event_count
    (partial / recording_dir.PAGES).write_bytes(memory.pages)
    copy = partial / recording_dir.RUN / "lvmm.elf"
    recording_dir.copy_file(monitor, copy)
    monitor_entry = recording_dir.describe_file(partial, f"{recording_dir.RUN}/lvmm.elf")
    copy.unlink()

    def entry(path: Path) -> recording_dir.FileEntry:
        return recording_dir.describe_file(partial, str(path.relative_to(partial)))

    return Manifest(
        board=board.name,
        kind=guest.kind,
        cmdline=guest.cmdline,
        memory_mib=guest.memory_mib,
        kernel=None if guest.kernel is None else entry(guest.kernel),
        extra=tuple(entry(path) for path in guest.extra),
        log=entry(partial / recording_dir.LOG),
        console=entry(partial / recording_dir.CONSOLE),
        pages=entry(partial / recording_dir.PAGES),
        memory_sha256=memory.sha256,
        end_reason=GUEST_STOP if stopped else str(result.report.reason),
        branches=state.branches,
        rip=state.rip,
        events_total=events_total,
        events=result.report.events,
        exits=result.report.exits,
        seed=options.seed,
        wall_s=round(result.wall_s, 3),
        instructions=result.stats.instructions if result.stats else 0,
        registers={
            name: value for name, value in registers.get("state", {}).items() if name != "segments"
        },
        tool_version=__version__,
        monitor_sha256=monitor_entry.sha256,
        marks={text: dataclasses.asdict(mark) for text, mark in result.marks.items()},
        kernel_name=source.name,
        altered=result.altered,
        fenced=tuple(result.report.fenced),
    )
