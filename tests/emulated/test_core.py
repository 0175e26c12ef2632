"""Cores of small guests: out of a machine's memory, out of a replay, and before an event."""

from __future__ import annotations

import filecmp
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.elf_cores import ElfCore
from tests.emulated.machine import BOARD, RECORD_TIMEOUT_S, REPLAY_TIMEOUT_S, events_of, tiny

from lvmm import replaying, session
from lvmm.errors import UsageError
from lvmm.guest_build import ROOT
from lvmm.logs import Event
from lvmm.logs.codec import GPR_NAMES
from lvmm.logs.layout import NOTES, ConsoleLine
from lvmm.session import RunSettings
from lvmm.vmcore.replay_core import ReplayCore, cut_log

pytestmark = [pytest.mark.deadline(900), pytest.mark.xdist_group("cores")]


def extract_core(source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "extract_log.py", "core", source, "-o", output]
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )


class Recorded:
    """A recording, and the core that extract_log.py has made of the machine's memory."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "recording"
        self.core = folder / "vmcore"
        self.log = folder / "crash.lvmm"
        self.said = ""
        settings = RunSettings(seed=1, timeout_s=RECORD_TIMEOUT_S)
        guest = tiny("timer")
        session.record(BOARD, guest, settings, self.directory, before_extraction=self._extract)
        self.events = events_of(self.directory)

    def _extract(self, ram: Path) -> None:
        words = [sys.executable, ROOT / "tools" / "extract_log.py", "extract", ram, "-o", self.log]
        subprocess.run([str(word) for word in words], check=True)
        done = extract_core(ram, self.core)
        assert done.returncode == 0, done.stderr
        self.said = done.stderr


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    yield Recorded(tmp_path_factory.mktemp("core"))


def settings() -> RunSettings:
    return RunSettings(seed=2, timeout_s=REPLAY_TIMEOUT_S)


def test_core_of_memory_and_of_a_replay_are_the_same(recorded: Recorded, tmp_path: Path) -> None:
    assert "no Linux kernel" in recorded.said
    core = ReplayCore(tmp_path / "vmcore")
    assert replaying.replay(BOARD, recorded.directory, settings(), core=core).identical
    assert filecmp.cmp(recorded.core, tmp_path / "vmcore", shallow=False)
    read = ElfCore(recorded.core)
    assert read.registers()["rip"] == recorded.events[-1].rip
    stat = recorded.core.stat()
    assert 512 * stat.st_blocks < stat.st_size / 2, "pages of zeros are stored"


def test_the_log_in_memory_is_that_of_the_recording(recorded: Recorded) -> None:
    assert filecmp.cmp(recorded.log, recorded.directory / "log.lvmm", shallow=False)


def due_events(events: list[Event]) -> list[int]:
    """The last event of each kind that begins a position: one that the guest caused, one not."""
    found: dict[str, int] = {}
    for event in events[:-1]:
        if not event.same_position and event.kind not in NOTES:
            found[event.name] = event.index
    assert {"INTERRUPT"} < set(found)
    return sorted(found.values())[-2:]


def test_a_replay_stops_before_an_event(recorded: Recorded, tmp_path: Path) -> None:
    for index in due_events(recorded.events):
        core = ReplayCore(tmp_path / f"vmcore-{index}")
        due = replaying.replay_until(BOARD, recorded.directory, settings(), core, index)
        assert due.index == index
        registers = ElfCore(core.path).registers()
        assert registers["rip"] == due.rip
        if due.registers is not None:
            assert tuple(registers[name] for name in GPR_NAMES) == due.registers.gpr


def test_notes_are_passed_over(recorded: Recorded, tmp_path: Path) -> None:
    note = next(event.index for event in recorded.events if event.kind in NOTES)
    due = cut_log(recorded.directory, note, tmp_path / "log.lvmm")
    assert due.index == next(e.index for e in recorded.events[note:] if e.kind not in NOTES)


def test_console_lines_are_in_the_log(recorded: Recorded) -> None:
    """Each at the bytes that the console has up to there."""
    console = (recorded.directory / "console.log").read_bytes()
    ends = [e.payload.end for e in recorded.events if isinstance(e.payload, ConsoleLine)]
    assert ends == [at + 1 for at, byte in enumerate(console) if byte == ord("\n")]
    assert ends


def test_an_event_that_is_not_there(recorded: Recorded, tmp_path: Path) -> None:
    core = ReplayCore(tmp_path / "vmcore")
    count = len(recorded.events)
    with pytest.raises(UsageError, match=f"there is no event {count}: .* 0 to {count - 1}"):
        replaying.replay_until(BOARD, recorded.directory, settings(), core, count)
    assert not core.path.exists()


def test_a_recording_has_no_memory(recorded: Recorded, tmp_path: Path) -> None:
    done = extract_core(recorded.directory, tmp_path / "vmcore")
    assert done.returncode == 2
    assert "./lvmm replay DIR --core FILE" in done.stderr
    assert not (tmp_path / "vmcore").exists()
