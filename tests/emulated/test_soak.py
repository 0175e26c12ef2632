"""A short soak; and one that finds what was planted, keeps it, and shows it again."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.emulated.machine import BOARD, tampered

from lvmm import cli, replaying
from lvmm.errors import DivergenceError
from lvmm.logs import Recording
from lvmm.logs.layout import Rdtsc
from lvmm.soak import command, one_run
from lvmm.soak.command import SoakOptions
from lvmm.soak.modes import WHOLE
from lvmm.soak.one_run import IDENTICAL
from lvmm.soak.results import Results

FIRST, RUNS, PARTS = 1, 20, 4
SHORT = ("tiny", "sector", "own-disk", "usb", "hints", "polled", "appliance")


@pytest.mark.parametrize("part", range(PARTS))
def test_twenty_runs(part: int, tmp_path: Path) -> None:
    runs = RUNS // PARTS
    options = SoakOptions(runs=runs, seed=FIRST + part * runs, workloads=SHORT, jobs=1)
    command.run(BOARD, options, tmp_path)
    with Results(tmp_path / "soak.db") as results:
        made = results.runs()
    assert [run["result"] for run in made] == [IDENTICAL] * runs
    assert sum(run["events"] for run in made) > runs
    assert [path.name for path in tmp_path.iterdir()] == ["soak.db"]


def seed_of(name: str) -> int:
    """The first that draws this tiny guest, all of whose log is kept."""
    for seed in itertools.count(1):
        plan, _ = one_run.plan(BOARD, seed, ("tiny",))
        if plan.settings.startswith(name) and plan.mode.log == WHOLE:
            return seed
    raise AssertionError


def test_what_diverges_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that the guest reads is changed between the recording and its replays."""
    replay = replaying.replay

    def changed(board: object, directory: Path, *rest: object, **options: object) -> object:
        if not (directory.parent / "changed").exists():
            with Recording.open(directory) as recording:
                events = list(recording.events())
            reading = next(e.payload for e in events if isinstance(e.payload, Rdtsc))
            reading.tsc += 1 << 40
            tampered(directory, directory.parent / "changed", events)
            directory.rename(directory.parent / "as-it-was")
            (directory.parent / "changed").rename(directory)
            (directory.parent / "changed").touch()
        return replay(board, directory, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(replaying, "replay", changed)
    options = SoakOptions(runs=3, seed=seed_of("inputs"), workloads=("tiny",), jobs=1)
    where = tmp_path / str(options.seed)
    with pytest.raises(DivergenceError, match=f"soak --again {where}"):
        command.run(BOARD, options, tmp_path)
    assert (where / "verdict-1.json").exists()
    monkeypatch.undo()
    assert cli.main(["soak", "--again", str(where)]) == 3
    assert "diverged: replay 1: event " in capsys.readouterr().err
