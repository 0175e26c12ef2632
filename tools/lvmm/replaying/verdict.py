"""What a replay showed: memory, console and registers beside those of the recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvmm import recording_dir
from lvmm.board import Board
from lvmm.crash import CrashedGuest, explain_crash
from lvmm.divergence import explain_divergence
from lvmm.errors import MachineError, RecordingError
from lvmm.logs import Recording
from lvmm.logs.layout import RegionState
from lvmm.logs.region import find_regions
from lvmm.logs.source import Source
from lvmm.machine_run import Mark, RunResult
from lvmm.memory_digest import MemoryDigest, digest_memory, ram_ranges
from lvmm.recording_dir import Manifest
from lvmm.session import GUEST_STOP


@dataclass
class ReplayVerdict:
    """What a replay showed.

    `differing_pages` are addresses of the first few; `divergence` is the explained report, and
    `crash` that of a run that ended by a crash; `altered` says that a debugger has changed the
    guest. `log_alone`: the recording does not say what memory and console were at the end, so that
    they count as identical. `marks` are those that the settings asked for.
    """

    seed: int
    wall_s: float
    end_reason: str
    recorded_end_reason: str
    events_total: int
    events_matched: int
    console_identical: bool
    registers_identical: bool
    memory_identical: bool
    memory_sha256: str
    instructions: int
    differing_pages: list[int] = field(default_factory=list)
    console_differs_at: int | None = None
    divergence: dict[str, Any] | None = None
    crash: dict[str, Any] | None = None
    events: dict[str, int] = field(default_factory=dict)
    altered: bool = False
    log_alone: bool = False
    marks: dict[str, Mark] = field(default_factory=dict)

    @property
    def identical(self) -> bool:
        return (
            self.divergence is None
            and not self.altered
            and self.events_matched == self.events_total
            and self.console_identical
            and self.registers_identical
            and self.memory_identical
        )


def judge(
    board: Board,
    directory: Path,
    manifest: Manifest,
    ram: Path,
    result: RunResult,
    seed: int,
) -> ReplayVerdict:
    size = manifest.memory_mib << 20
    report = result.report
    halted = report.halted or {}
    with Recording.open(directory) as recording:
        if recording.header is None:
            raise RecordingError(f"{directory}: the log has lost its header")
        memory = digest_memory(ram, size, ram_ranges(recording.header, size))
    state, console = _replayed_console(ram, board)
    recorded_console = (directory / recording_dir.CONSOLE).read_bytes()
    recorded_pages = (directory / recording_dir.PAGES).read_bytes()
    recorded = MemoryDigest(manifest.memory_sha256, recorded_pages)
    # What a guest that ran on had in its memory then, the monitor has compared.
    memory_identical = (
        state == RegionState.REPLAYED
        if manifest.end_reason == GUEST_STOP
        else manifest.log_alone or memory.sha256 == recorded.sha256
    )
    if manifest.log_alone:
        recorded_console = console
    return ReplayVerdict(
        seed=seed,
        wall_s=round(result.wall_s, 3),
        end_reason=str(report.reason),
        recorded_end_reason=manifest.end_reason,
        events_total=manifest.events_total,
        events_matched=int(halted.get("events", 0)),
        console_identical=console == recorded_console,
        # The monitor compares all registers with those in the END event before it says so.
        registers_identical=state == RegionState.REPLAYED
        and halted.get("branches") == manifest.branches
        and halted.get("rip") == manifest.rip,
        memory_identical=memory_identical,
        memory_sha256=memory.sha256,
        instructions=result.stats.instructions if result.stats else 0,
        differing_pages=[] if memory_identical else memory.first_differences(recorded.pages),
        console_differs_at=_first_difference(console, recorded_console),
        divergence=report.divergence and explain_divergence(report.divergence, directory, ram),
        crash=_replayed_crash(directory, manifest, ram, result),
        events=report.events,
        altered=result.altered,
        log_alone=manifest.log_alone,
        marks=result.marks,
    )


def _replayed_console(ram: Path, board: Board) -> tuple[int, bytes]:
    """State of the log region after a replay, and the console output in it."""
    source = Source(str(ram))
    try:
        for region in find_regions(source):
            if region.base == board.memory.log_base:
                return region.header.state, region.console()
    finally:
        source.close()
    raise MachineError("the replaying monitor left no log region")


def _replayed_crash(
    directory: Path, manifest: Manifest, ram: Path, result: RunResult
) -> dict[str, Any] | None:
    """The report of the crash with which recording and replay ended."""
    if result.report.divergence is not None:
        return None
    return explain_crash(
        directory,
        CrashedGuest(manifest.kind, recording_dir.recorded_kernel(directory, manifest)),
        ram,
    )


def _first_difference(one: bytes, other: bytes) -> int | None:
    if one == other:
        return None
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))
