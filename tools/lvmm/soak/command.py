"""`lvmm soak`: runs until their number is reached, or the first that is not as it should be."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from lvmm.board import Board
from lvmm.errors import DivergenceError, MachineError, UsageError
from lvmm.guest_build import ROOT
from lvmm.machine_run import StopRequest
from lvmm.messages import say
from lvmm.session import new_seed
from lvmm.soak import claims, one_run
from lvmm.soak.one_run import DIVERGED, IDENTICAL, Outcome
from lvmm.soak.results import Results
from lvmm.soak.revision import revision
from lvmm.soak.summary import render, summary
from lvmm.soak.workloads import WORKLOADS

FOLDER = ROOT / "build" / "soak"
DATABASE = "soak.db"
JOBS_MAX = 4  # unless told otherwise: a machine takes some 400 MB of memory


@dataclass(frozen=True)
class SoakOptions:
    """What the user chooses. The first run has `seed`, each next one 1 more. `workloads`: names,
    none: all. `again`: the directory of a run that was kept, to be replayed once more. With
    `summary` nothing is run: it shows what all soaks so far have come to.
    """

    runs: int = 20
    seed: int | None = None
    workloads: tuple[str, ...] = ()
    jobs: int | None = None
    again: Path | None = None
    as_json: bool = False
    summary: bool = False


def run(board: Board, options: SoakOptions, folder: Path = FOLDER) -> None:
    """Soaks; prints a line a run and the summary of all runs ever.

    Raises DivergenceError or MachineError at the first run that diverges or fails, when those
    under way have ended; KeyboardInterrupt.
    """
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        raise UsageError(f"there is no workload {unknown[0]}: there are {', '.join(WORKLOADS)}")
    if options.summary:
        _show(folder, [], options)
        return
    stop = StopRequest()
    with stop.from_ctrl_c():
        if options.again is not None:
            outcome = one_run.again(board, options.again, stop)
            say(f"{options.again}: {_line(outcome)}")
            _raise_for([outcome])
            return
        claims.sweep(folder)
        with Results(folder / DATABASE, revision()) as results:
            outcomes = _run_all(board, options, folder, results, stop)
        _show(folder, outcomes, options)
    if stop.requested:
        raise KeyboardInterrupt
    _raise_for(outcomes)


def _show(folder: Path, outcomes: list[Outcome], options: SoakOptions) -> None:
    with Results(folder / DATABASE) as results:
        everything = summary(results.runs())
    if options.as_json:
        runs = [dataclasses.asdict(outcome) for outcome in outcomes]
        print(json.dumps({"runs": runs, "all": everything}, indent=2))
    else:
        print(render(everything), flush=True)


def _run_all(
    board: Board, options: SoakOptions, folder: Path, results: Results, stop: StopRequest
) -> list[Outcome]:
    first = new_seed() if options.seed is None else options.seed
    jobs = options.jobs or min(os.cpu_count() or 1, JOBS_MAX)
    outcomes: list[Outcome] = []
    seeds = iter(range(first, first + options.runs))
    with ThreadPoolExecutor(jobs) as pool:
        waiting: set[Future[Outcome]] = set()
        while True:
            sound = all(outcome.result == IDENTICAL for outcome in outcomes)
            if sound and not stop.requested:
                for seed in itertools.islice(seeds, jobs - len(waiting)):
                    waiting.add(
                        pool.submit(one_run.run, board, seed, options.workloads, folder, stop)
                    )
            if not waiting:
                return outcomes
            done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            for outcome in _outcomes(done, stop):
                results.add(outcome)
                outcomes.append(outcome)
                say(f"{len(outcomes)} of {options.runs}: {_line(outcome)}")


def _outcomes(done: set[Future[Outcome]], stop: StopRequest) -> Iterator[Outcome]:
    for future in done:
        try:
            yield future.result()
        except KeyboardInterrupt:
            continue
        except BaseException:
            stop.request()  # the others need not go on
            raise


def _line(outcome: Outcome) -> str:
    plan = outcome.plan
    what = f"{plan.workload} ({plan.settings}, {plan.mode.log} log)"
    text = f"seed {plan.seed}, {what}: {outcome.result}"
    if outcome.result != IDENTICAL:
        return f"{text}: {outcome.message}"
    return f"{text}, {outcome.events:,} events, {outcome.wall_s:.0f} s"


def _raise_for(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.result == IDENTICAL:
            continue
        error = DivergenceError if outcome.result == DIVERGED else MachineError
        raise error(
            f"the run of seed {outcome.plan.seed} {outcome.result}: {outcome.message}; all of it "
            f"is in {outcome.kept}: `./lvmm soak --again {outcome.kept}` replays it under the same "
            "conditions"
        )
