"""Soaks with runs that are made up: what ends them, what is kept, and what the database says."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from lvmm.board import Board, load_board
from lvmm.errors import (
    DivergenceError,
    EnvironmentProblem,
    MachineError,
    RecordingError,
    UsageError,
)
from lvmm.machine_run import StopRequest
from lvmm.soak import command, conditions, one_run, workloads
from lvmm.soak.command import SoakOptions
from lvmm.soak.one_run import DIVERGED, FAILED, IDENTICAL, Outcome, Plan
from lvmm.soak.results import Results

BOARD = load_board("bochs-vtx")
Runner = Callable[[Board, int, tuple[str, ...], Path, StopRequest], Outcome]


def made_up(results: dict[int, str]) -> Runner:
    """A run that comes to what is said of its seed, else to all being well."""

    def run(
        board: Board, seed: int, names: tuple[str, ...], directory: Path, stop: StopRequest
    ) -> Outcome:
        chance = random.Random(seed)
        name = workloads.choose(names, chance)
        plan = Plan(seed, name, "", conditions.draw(chance), (conditions.draw(chance),))
        return Outcome(plan, results.get(seed, IDENTICAL), "why", 10, 200, 3000, 1.5)

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
    assert sum(line["runs"] for line in facts["all"]) == 60
    assert sum(line["events"] for line in facts["all"]) == 600
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
        assert 3 <= sum(line["runs"] for line in results.summary()) <= 5


def test_trouble_with_the_machine_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(
        board: Board, seed: int, names: tuple[str, ...], directory: Path, stop: StopRequest
    ) -> Outcome:
        raise EnvironmentProblem("disk full")

    with pytest.raises(EnvironmentProblem, match="disk full"):
        soak(monkeypatch, tmp_path, run, runs=10, seed=1)


def test_what_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "soak.db").write_bytes(b"something else" * 100)
    with pytest.raises(EnvironmentProblem, match="move it away"):
        soak(monkeypatch, tmp_path, made_up({}), runs=1, seed=1)


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
    assert {workloads.choose((), chance) for _ in range(1000)} == set(workloads.WORKLOADS)
    assert {workloads.choose(("tiny", "disk"), chance) for _ in range(200)} == {"tiny", "disk"}
    assert sum(workload.weight for workload in workloads.WORKLOADS.values()) == 100


def test_again_needs_a_run_that_was_kept(tmp_path: Path) -> None:
    for text in (None, "{}", "[1]", '{"seed": 1}', "nonsense"):
        shutil.rmtree(tmp_path / "1", ignore_errors=True)
        (tmp_path / "1").mkdir()
        if text is not None:
            (tmp_path / "1" / "soak.json").write_text(text)
        with pytest.raises(RecordingError, match=r"is no run that \./lvmm soak has kept"):
            command.run(BOARD, SoakOptions(again=tmp_path / "1"), tmp_path)
