"""Soaks with runs that are made up: what ends them, what is kept, and what the database says."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lvmm import __version__, session
from lvmm.board import Board, load_board
from lvmm.errors import (
    DivergenceError,
    EnvironmentProblem,
    MachineError,
    RecordingError,
    UsageError,
)
from lvmm.machine_run import StopRequest
from lvmm.session import RunSettings, Sink
from lvmm.soak import claims, command, conditions, modes, one_run, workloads
from lvmm.soak.command import SoakOptions
from lvmm.soak.one_run import DIVERGED, FAILED, IDENTICAL, Outcome, Plan
from lvmm.soak.results import Results
from lvmm.soak.summary import summary

BOARD = load_board("bochs-vtx")
Runner = Callable[[Board, int, tuple[str, ...], Path, StopRequest], Outcome]


def made_up(results: dict[int, str]) -> Runner:
    """A run that comes to what is said of its seed, else to all being well."""

    def run(
        board: Board, seed: int, names: tuple[str, ...], folder: Path, stop: StopRequest
    ) -> Outcome:
        chance = random.Random(seed)
        name = workloads.choose(names, chance)
        mode = modes.draw(chance, begins="", whole=False, dma=True, network=True)
        replays = (conditions.draw(chance),)
        plan = Plan(seed, name, "", 8 << seed % 3, mode, conditions.draw(chance), replays)
        result = results.get(seed, IDENTICAL)
        kept = "" if result == IDENTICAL else str(folder / str(seed))
        return Outcome(plan, result, "why", 10, 200, 3000, 1.5, "0123456789abcdef" * 4, kept)

    return run


def soak(monkeypatch: pytest.MonkeyPatch, folder: Path, runner: Runner, **options: int) -> None:
    monkeypatch.setattr(one_run, "run", runner)
    command.run(BOARD, SoakOptions(as_json=True, **options), folder)


def test_all_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for first in (5, 40):
        soak(monkeypatch, tmp_path, made_up({}), runs=30, seed=first, jobs=3)
    said = capsys.readouterr()
    assert "30 of 30: seed " in said.err
    facts = json.loads(said.out[said.out.rindex("\n{") :])
    assert sorted(run["plan"]["seed"] for run in facts["runs"]) == list(range(40, 70))
    sums = facts["all"]
    assert sum(line["runs"] for line in sums["workloads"]) == 60
    assert sum(line["events"] for line in sums["workloads"]) == 600
    memory = [line for line in sums["conditions"] if line["condition"] == "guest's memory, MiB"]
    assert [line["value"] for line in memory] == [8, 16, 32]
    assert sum(line["identical"] for line in memory) == 60
    (version,) = sums["versions"]
    assert (version["runs"], version["monitor"]) == (60, "0123456789ab")
    with sqlite3.connect(tmp_path / "soak.db") as database:
        seeds = {seed for (seed,) in database.execute("SELECT seed FROM runs")}
    assert seeds == {*range(5, 35), *range(40, 70)}


@pytest.mark.parametrize(("result", "error"), [(DIVERGED, DivergenceError), (FAILED, MachineError)])
def test_the_first_that_is_not_well_ends_it(
    result: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(error, match=f"seed 12 {result}: why; all of it is in {tmp_path / '12'}"):
        soak(monkeypatch, tmp_path, made_up({12: result}), runs=1000, seed=10, jobs=2)
    with Results(tmp_path / "soak.db") as results:
        seeds = [run["seed"] for run in results.runs() if run["result"] == IDENTICAL]
        assert seeds[:2] == [10, 11]
        assert 3 <= len(results.runs()) <= 5


def test_trouble_with_the_machine_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(
        board: Board, seed: int, names: tuple[str, ...], folder: Path, stop: StopRequest
    ) -> Outcome:
        raise EnvironmentProblem("disk full")

    with pytest.raises(EnvironmentProblem, match="disk full"):
        soak(monkeypatch, tmp_path, run, runs=10, seed=1)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_run_that_is_stopped_has_not_failed(
    stopped: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stop = StopRequest()

    def record(*_: object) -> object:
        if stopped:
            stop.request()
        raise MachineError("the guest and its peer are not done")

    monkeypatch.setattr(session, "record", record)
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            one_run.run(BOARD, 3, ("sector",), tmp_path, stop)
        assert list(tmp_path.iterdir()) == []
    else:
        assert one_run.run(BOARD, 3, ("sector",), tmp_path, stop).result == FAILED
        assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_what_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soak.db").write_bytes(b"something else" * 100)
    with pytest.raises(EnvironmentProblem, match="move it away"):
        soak(monkeypatch, tmp_path, made_up({}), runs=1, seed=1)


def test_the_summary_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soak(monkeypatch, tmp_path, made_up({}), runs=7, seed=1)
    capsys.readouterr()
    monkeypatch.setattr(one_run, "run", None)
    command.run(BOARD, SoakOptions(summary=True), tmp_path)
    tables = capsys.readouterr().out.split("\n\n")
    assert [table.split()[0] for table in tables] == ["workload", "condition", "version"]
    assert [line.split()[:5] for line in tables[0].splitlines()][-1] == ["all", *"7700"]
    command.run(BOARD, SoakOptions(summary=True, as_json=True), tmp_path)
    facts = json.loads(capsys.readouterr().out)
    assert facts["runs"] == []
    assert facts["all"]["versions"][0]["runs"] == 7


def test_a_database_of_an_older_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knew neither mode nor revision: its runs still count."""
    record = json.dumps(dataclasses.asdict(conditions.draw(random.Random(1))))
    with sqlite3.connect(tmp_path / "soak.db") as database:
        database.execute(
            "CREATE TABLE runs (finished TEXT DEFAULT CURRENT_TIMESTAMP, version TEXT,"
            " seed INTEGER, workload TEXT, settings TEXT, record TEXT, replays TEXT, result TEXT,"
            " message TEXT, events INTEGER, branches INTEGER, log_bytes INTEGER, wall_s REAL)"
        )
        database.execute(
            "INSERT INTO runs (version, seed, workload, record, replays, result)"
            " VALUES ('0.2', 1, 'tiny', ?, '[]', 'identical')",
            (record,),
        )
    soak(monkeypatch, tmp_path, made_up({}), runs=3, seed=5)
    with Results(tmp_path / "soak.db") as results:
        sums = summary(results.runs())
    assert sum(line["identical"] for line in sums["workloads"]) == 4
    assert {line["version"]: line["runs"] for line in sums["versions"]} == {
        "0.2": 1,
        __version__: 3,
    }


def test_a_run_has_a_directory_of_its_own(tmp_path: Path) -> None:
    """Two soaks with the same seed, and a run of that seed that was kept."""
    (tmp_path / "4").mkdir()
    with claims.claimed(tmp_path, 4) as one, claims.claimed(tmp_path, 4) as other:
        assert (one, other) == (tmp_path / "4-2", tmp_path / "4-3")
        claims.sweep(tmp_path)
        assert one.is_dir()
        assert other.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4", "4-2", "4-3"]


def test_what_a_killed_soak_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runs are removed by the next; those that it has kept stay."""
    program = (
        "import os, sys, pathlib\n"
        "from lvmm.soak import claims\n"
        "with claims.claimed(pathlib.Path(sys.argv[1]), 8) as directory:\n"
        "    (directory / 'ram.img').write_text('large')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / "7").mkdir()
    assert (tmp_path / "8" / "ram.img").exists()
    soak(monkeypatch, tmp_path, made_up({}), runs=1, seed=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "soak.db"]


def test_unknown_workload(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no workload nonsense: there are tiny, sector"):
        command.run(BOARD, SoakOptions(workloads=("nonsense",)), tmp_path)


def test_a_seed_decides_everything() -> None:
    for seed in range(200):
        one, other = (conditions.draw(random.Random(seed)) for _ in range(2))
        assert one == other
        board = one.board(BOARD)
        assert board.emulator == dataclasses.replace(
            BOARD.emulator,
            cpu_model=one.cpu_model,
            ips=one.ips,
            skid_margin=one.skid_margin,
            tlb_flush=one.tlb_flush,
        )
        models = conditions.REPLAYED_ON[one.cpu_model]
        assert conditions.draw(random.Random(seed), models).cpu_model in models


def test_all_workloads_come_up() -> None:
    chance = random.Random(1)
    assert {workloads.choose((), chance) for _ in range(3000)} == set(workloads.WORKLOADS)
    assert {workloads.choose(("tiny", "disk"), chance) for _ in range(200)} == {"tiny", "disk"}
    assert sum(workload.weight for workload in workloads.WORKLOADS.values()) == 1000


def test_a_seed_decides_the_plan() -> None:
    """All workloads are prepared that need no kernel; twice they come out the same."""
    names = ("tiny", "sector", "own-disk", "usb", "hints", "polled", "appliance")
    seen = set()
    for seed in range(60):
        one, prepared = one_run.plan(BOARD, seed, names)
        assert one_run.plan(BOARD, seed, names)[0] == one
        seen.add((one.mode.log, bool(one.mode.early_reads), bool(one.mode.checkpoints)))
        assert prepared.guest.memory_mib == one.memory_mib
        settings = one.mode.settings(RunSettings())
        assert (settings.ring is not None) == (one.mode.log == modes.RING)
        assert (settings.sink == Sink.SERIAL) == (one.mode.log == modes.SERIAL)
    assert {log for log, _, _ in seen} == {modes.WHOLE, modes.RING, modes.SERIAL}
    for chance in map(random.Random, range(50)):
        mode = modes.draw(chance, begins="init", whole=False, dma=False, network=False)
        assert (mode.log == modes.PART) == (mode.settings(RunSettings()).triggers.start is not None)


def test_again_needs_a_run_that_was_kept(tmp_path: Path) -> None:
    for text in (None, "{}", "[1]", '{"seed": 1}', "nonsense"):
        shutil.rmtree(tmp_path / "1", ignore_errors=True)
        (tmp_path / "1").mkdir()
        if text is not None:
            (tmp_path / "1" / "soak.json").write_text(text)
        with pytest.raises(RecordingError, match=r"is no run that \./lvmm soak has kept"):
            command.run(BOARD, SoakOptions(again=tmp_path / "1"), tmp_path)
