"""One run of a soak: a recording under conditions that its seed decides, and two replays under
others.
"""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmm import recording_dir, replaying, session
from lvmm.board import Board
from lvmm.errors import EnvironmentProblem, LvmmError, RecordingError
from lvmm.machine_run import StopRequest
from lvmm.recording_dir import Manifest
from lvmm.replaying import ReplayVerdict
from lvmm.session import RunSettings
from lvmm.soak import conditions, workloads
from lvmm.soak.conditions import Conditions

REPLAYS = 2
IDENTICAL, DIVERGED, FAILED = "identical", "diverged", "failed"

_RECORD_DEADLINE_S, _REPLAY_DEADLINE_S = 1800.0, 3600.0
# In the directory of a run that is kept.
_RECORDING, _PLAN = "recording", "soak.json"


@dataclass(frozen=True)
class Plan:
    """All that a seed decides, but for what the guest and its peer do with it."""

    seed: int
    workload: str
    settings: str
    record: Conditions
    replays: tuple[Conditions, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of it. Of a run that failed the rest is not known. Times are the host's."""

    plan: Plan
    result: str  # IDENTICAL, DIVERGED or FAILED
    message: str = ""
    events: int = 0
    branches: int = 0
    log_bytes: int = 0
    wall_s: float = 0.0


def run(
    board: Board, seed: int, names: tuple[str, ...], directory: Path, stop: StopRequest
) -> Outcome:
    """Records and replays; `directory` is there afterwards only if something is wrong.

    Raises KeyboardInterrupt on a stop request, EnvironmentProblem.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    chance = random.Random(seed)
    name = workloads.choose(names, chance)
    prepared = workloads.WORKLOADS[name].prepare(board, chance)
    record = conditions.draw(chance)
    models = conditions.REPLAYED_ON[record.cpu_model]
    replays = tuple(conditions.draw(chance, models) for _ in range(REPLAYS))
    plan = Plan(seed, name, prepared.settings, record, replays)
    (directory / _PLAN).write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    start = time.monotonic()
    disk = workloads.write_disk(prepared, directory / "disk.img")
    settings = RunSettings(
        seed=record.seed,
        timeout_s=_RECORD_DEADLINE_S,
        net_port=prepared.net_port,
        guest_disk=disk,
    )
    try:
        with prepared.peer():  # what it finds amiss counts as a failure, too
            manifest = session.record(
                record.board(board), prepared.guest, settings, directory / _RECORDING, stop
            )
        _check(stop, manifest)
        outcome = _replay(board, plan, manifest, directory, stop)
    except (EnvironmentProblem, KeyboardInterrupt):
        shutil.rmtree(directory)
        raise
    except LvmmError as error:
        return Outcome(plan, FAILED, str(error), wall_s=time.monotonic() - start)
    if outcome.result == IDENTICAL:
        shutil.rmtree(directory)
    return dataclasses.replace(outcome, wall_s=time.monotonic() - start)


def _check(stop: StopRequest, manifest: Manifest) -> None:
    if stop.requested:
        raise KeyboardInterrupt
    if manifest.end_reason in ("stopped", "log-full"):
        raise RecordingError(f"the recording ended by {manifest.end_reason}")


def again(board: Board, directory: Path, stop: StopRequest) -> Outcome:
    """Replays a run that was kept, under the same conditions. Raises RecordingError."""
    try:
        facts = json.loads((directory / _PLAN).read_text())
        facts["record"] = Conditions(**facts["record"])
        facts["replays"] = tuple(Conditions(**replay) for replay in facts["replays"])
        plan = Plan(**facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{directory} is no run that ./lvmm soak has kept: {error}") from None
    manifest = recording_dir.read_manifest(directory / _RECORDING)
    return _replay(board, plan, manifest, directory, stop)


def _replay(
    board: Board, plan: Plan, manifest: Manifest, directory: Path, stop: StopRequest
) -> Outcome:
    outcome = Outcome(
        plan,
        IDENTICAL,
        events=manifest.events_total,
        branches=manifest.branches,
        log_bytes=manifest.log.size,
    )
    for number, replay in enumerate(plan.replays, 1):
        logs = directory / f"replay-{number}"
        shutil.rmtree(logs, ignore_errors=True)
        verdict = replaying.replay(
            replay.board(board),
            directory / _RECORDING,
            RunSettings(seed=replay.seed, timeout_s=_REPLAY_DEADLINE_S),
            keep_run=logs,
            stop=stop,
        )
        if not verdict.identical:
            text = json.dumps(dataclasses.asdict(verdict), indent=2, default=str)
            (directory / f"verdict-{number}.json").write_text(text + "\n")
            return dataclasses.replace(
                outcome, result=DIVERGED, message=f"replay {number}: {_difference(verdict)}"
            )
    return outcome


def _difference(verdict: ReplayVerdict) -> str:
    divergence: dict[str, Any] | None = verdict.divergence
    if divergence is not None:
        return f"event {divergence.get('event')}: {divergence.get('why')}"
    parts = {
        "console": verdict.console_identical,
        "registers": verdict.registers_identical,
        "memory": verdict.memory_identical,
    }
    return "other " + ", ".join(name for name, same in parts.items() if not same)
