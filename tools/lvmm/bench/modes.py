"""One guest in four modes: on the bare emulator, live, recorded, and replayed.

The guest marks the begin and the end of each phase of its work (mark.h of
tests/guests/linux/common), and the emulator notes all its counters there, so that what is counted
is exact, and has no part of a boot.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from lvmm import recording_dir, replaying, session
from lvmm.bench.log_growth import LogGrowth, log_growth
from lvmm.board import Board
from lvmm.emulator_stats import Stats, StatsMark, parse_stats
from lvmm.errors import MachineError
from lvmm.guest import Guest
from lvmm.messages import say
from lvmm.session import RunSettings

READY, BEGIN, END = 0, 1, 2  # mark.h
PAGING, ENTRY = 254, 255  # boards/bochs/pmu/stats.h

BOOT = "boot to init"

_REPLAY_SEED = 2  # another skid than while recording


class Mode(enum.Enum):
    """How the guest is run."""

    NATIVE = "native"
    LIVE = "live"
    RECORD = "record"
    REPLAY = "replay"


@dataclass(frozen=True)
class Phase:
    """Work that the guest marks: so many `units` of it; `data`: bytes that one transfers."""

    name: str
    unit: str
    units: int
    data: int = 0


@dataclass(frozen=True)
class Machine:
    """A guest, what it does in order after its boot, and what it needs for that.

    `peer` is entered while the guest runs with a network on the port given to it. `end_mark`: the
    text on the console with which it ends on the bare emulator, where that is not by power-off.
    `boots`: its boot is a phase, too.
    """

    name: str
    guest: Guest
    phases: Sequence[Phase]
    settings: RunSettings
    peer: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    end_mark: str | None = None
    boots: bool = True


@dataclass
class Spent:
    """What a phase took. Instructions are retired ones, `exits` VM exits by basic reason; times in
    seconds of the host. `log` is there while recording, and what a replay read.
    """

    instructions: int
    guest_instructions: int
    exits: dict[int, int]
    wall_s: float
    cpu_s: float
    log: LogGrowth = field(default_factory=LogGrowth)

    @property
    def monitor_instructions(self) -> int:
        return self.instructions - self.guest_instructions

    @property
    def exit_count(self) -> int:
        return sum(self.exits.values())


@dataclass(frozen=True)
class Ran:
    """One mode: what each phase took, and what was before the guest's first instruction."""

    mode: Mode
    spent: dict[str, Spent]
    entry_instructions: int = 0


def between(first: StatsMark, last: StatsMark, monitored: bool) -> Spent:
    """What was spent from one mark to a later one; all of it is the guest's without the monitor."""
    instructions = last.instructions - first.instructions
    guest = last.guest_instructions - first.guest_instructions if monitored else instructions
    return Spent(
        instructions,
        guest,
        {
            reason: count - first.exits.get(reason, 0)
            for reason, count in last.exits.items()
            if count != first.exits.get(reason, 0)
        },
        last.wall_s - first.wall_s,
        last.cpu_s - first.cpu_s,
    )


def pairs_of(machine: Machine, stats: Stats) -> dict[str, tuple[StatsMark, StatsMark]]:
    """The marks around each phase. Raises MachineError where the guest has not made them all."""
    made = [mark for mark in stats.marks if mark.number in (READY, BEGIN, END)]
    pairs = {}
    if machine.boots:
        started = next((mark for mark in stats.marks if mark.number == PAGING), None)
        if started is None or not made or made[0].number != READY:
            raise MachineError(f"bench: {machine.name} has not marked the end of its boot")
        pairs[BOOT] = (started, made.pop(0))
    expected = [BEGIN, END] * len(machine.phases)
    if [mark.number for mark in made] != expected:
        done = sum(mark.number == END for mark in made)
        names = [phase.name for phase in machine.phases]
        raise MachineError(
            f"bench: {machine.name} has not marked {', '.join(names[done:])} as begun and ended"
        )
    for phase, first, last in zip(machine.phases, made[::2], made[1::2], strict=True):
        pairs[phase.name] = (first, last)
    return pairs


def _ran(machine: Machine, mode: Mode, stats: Stats) -> Ran:
    monitored = mode is not Mode.NATIVE
    spent = {
        name: between(first, last, monitored)
        for name, (first, last) in pairs_of(machine, stats).items()
    }
    marks = {mark.number: mark for mark in reversed(stats.marks)}
    entry = 0
    if ENTRY in marks and PAGING in marks:
        entry = marks[ENTRY].instructions - marks[PAGING].instructions
    return Ran(mode, spent, entry)


def run_modes(board: Board, machine: Machine, scratch: Path) -> dict[Mode, Ran]:
    """All four. Raises LvmmError; MachineError also where the replay differs from the recording."""
    stats = {
        Mode.NATIVE: _native(board, machine),
        Mode.LIVE: _live(board, machine),
    }
    recording = scratch / "recording"
    stats[Mode.RECORD], branches = _record(board, machine, recording)
    stats[Mode.REPLAY] = _replay(board, machine, recording, scratch / "replay")
    ran = {mode: _ran(machine, mode, found) for mode, found in stats.items()}
    growth = _log_of(machine, stats[Mode.RECORD], branches, recording / recording_dir.LOG)
    for mode in (Mode.RECORD, Mode.REPLAY):
        for name, grown in growth.items():
            ran[mode].spent[name].log = grown
    return ran


def _tell(machine: Machine, what: str) -> None:
    say(f"{machine.name}: {what}")


def _native(board: Board, machine: Machine) -> Stats:
    _tell(machine, "without the monitor")
    options = session.run_options(machine.settings, end_mark=machine.end_mark)
    with machine.peer():
        result = session.run_native(board, machine.guest, options)
    if result.error is not None:
        raise result.error
    assert result.stats is not None
    return result.stats


def _live(board: Board, machine: Machine) -> Stats:
    _tell(machine, "live")
    with machine.peer():
        stats = session.live(board, machine.guest, machine.settings).stats
    assert stats is not None
    return stats


def _stats_of(run_dir: Path) -> Stats:
    return parse_stats((run_dir / "stats").read_bytes())


def _record(board: Board, machine: Machine, output: Path) -> tuple[Stats, int]:
    """The counters, and at how many conditional branches the log ends."""
    _tell(machine, "recorded")
    found: list[Stats] = []
    with machine.peer():
        manifest = session.record(
            board,
            machine.guest,
            machine.settings,
            output,
            before_extraction=lambda ram: found.append(_stats_of(ram.parent)),
        )
    return found[0], manifest.branches


def _replay(board: Board, machine: Machine, recording: Path, run_dir: Path) -> Stats:
    _tell(machine, "replayed")
    settings = RunSettings(seed=_REPLAY_SEED, timeout_s=machine.settings.timeout_s)
    verdict = replaying.replay(board, recording, settings, keep_run=run_dir)
    if not verdict.identical:
        raise MachineError(f"bench: the replay of {machine.name} differs from its recording")
    return _stats_of(run_dir)


def _log_of(machine: Machine, stats: Stats, branches: int, log: Path) -> dict[str, LogGrowth]:
    """By phase."""
    _tell(machine, "its log is read")
    skipped = stats.branches - branches  # those counted before the guest's first instruction
    parts = {
        name: (first.branches - skipped, last.branches - skipped)
        for name, (first, last) in pairs_of(machine, stats).items()
    }
    if BOOT in parts:
        parts[BOOT] = (-1, parts[BOOT][1])
    return log_growth(log, parts)
