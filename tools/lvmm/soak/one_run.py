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
from lvmm.soak import conditions, modes, workloads
from lvmm.soak.claims import claimed
from lvmm.soak.conditions import Conditions
from lvmm.soak.modes import Mode
from lvmm.soak.prepared import Prepared, images

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
    memory_mib: int
    mode: Mode
    record: Conditions
    replays: tuple[Conditions, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of it. Of a run that failed the rest is not known. Times are the host's; `monitor`
    is the SHA-256 of its ELF file, `kept` the directory of a run that is not as it should be.
    """

    plan: Plan
    result: str  # IDENTICAL, DIVERGED or FAILED
    message: str = ""
    events: int = 0
    branches: int = 0
    log_bytes: int = 0
    wall_s: float = 0.0
    monitor: str = ""
    kept: str = ""


def plan(board: Board, seed: int, names: tuple[str, ...]) -> tuple[Plan, Prepared]:
    """What a seed decides, and the guest. `names`: of workloads; none: all."""
    chance = random.Random(seed)
    name = workloads.choose(names, chance)
    prepared = workloads.WORKLOADS[name].prepare(board, chance)
    long = bool(prepared.begins)
    mode = modes.draw(
        chance,
        begins=prepared.begins,
        whole=prepared.whole,
        dma=prepared.dma,
        network=prepared.net_port is not None,
    )
    record = conditions.draw(chance, long=long)
    models = conditions.REPLAYED_ON[record.cpu_model]
    replays = tuple(conditions.draw(chance, models, long=long) for _ in range(REPLAYS))
    memory_mib = prepared.guest.memory_mib
    return Plan(seed, name, prepared.settings, memory_mib, mode, record, replays), prepared


def run(
    board: Board, seed: int, names: tuple[str, ...], folder: Path, stop: StopRequest
) -> Outcome:
    """Records and replays in a directory of its own in `folder`, which is there afterwards only if
    something is wrong.

    Raises KeyboardInterrupt on a stop request, EnvironmentProblem.
    """
    with claimed(folder, seed) as directory:
        try:
            chosen, prepared = plan(board, seed, names)
            outcome = _run(board, chosen, prepared, directory, stop)
        except BaseException:
            shutil.rmtree(directory)
            raise
        if outcome.result == IDENTICAL:
            shutil.rmtree(directory)
            return outcome
        return dataclasses.replace(outcome, kept=str(directory))


def _run(
    board: Board, plan: Plan, prepared: Prepared, directory: Path, stop: StopRequest
) -> Outcome:
    (directory / _PLAN).write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    start = time.monotonic()
    try:
        manifest = _record(board, plan, prepared, directory, stop)
        _check(stop, manifest)
        outcome = _replay(board, plan, manifest, directory, stop)
    except EnvironmentProblem:
        raise
    except LvmmError as error:
        if stop.requested:  # the guest and its peer were not done: no wonder
            raise KeyboardInterrupt from None
        outcome = Outcome(plan, FAILED, str(error))
    return dataclasses.replace(outcome, wall_s=time.monotonic() - start)


def _record(
    board: Board, plan: Plan, prepared: Prepared, directory: Path, stop: StopRequest
) -> Manifest:
    with images(prepared, directory) as (guest, disk, usb_disk), prepared.peer():
        settings = RunSettings(
            seed=plan.record.seed,
            timeout_s=_RECORD_DEADLINE_S,
            net_port=prepared.net_port,
            guest_disk=disk,
            usb_disk=usb_disk,
        )
        machine = plan.record.board(prepared.on_board(board))
        where = directory / _RECORDING
        return session.record(machine, guest, plan.mode.settings(settings), where, stop)


def _check(stop: StopRequest, manifest: Manifest) -> None:
    if stop.requested:
        raise KeyboardInterrupt
    if manifest.end_reason in ("stopped", "log-full"):
        raise RecordingError(f"the recording ended by {manifest.end_reason}")


def again(board: Board, directory: Path, stop: StopRequest) -> Outcome:
    """Replays a run that was kept, under the same conditions. Raises RecordingError."""
    try:
        facts = json.loads((directory / _PLAN).read_text())
        facts["mode"] = Mode(**facts["mode"])
        facts["record"] = Conditions(**facts["record"])
        facts["replays"] = tuple(Conditions(**replay) for replay in facts["replays"])
        plan = Plan(**facts)
    except OSError as error:
        raise RecordingError(
            f"{directory} is no run that ./lvmm soak has kept: {_PLAN}: {error.strerror}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingError(
            f"{directory} is no run that ./lvmm soak has kept: {_PLAN} is damaged: {error}"
        ) from None
    manifest = recording_dir.read_manifest(directory / _RECORDING)
    outcome = _replay(board, plan, manifest, directory, stop)
    return dataclasses.replace(outcome, kept=str(directory))


def _replay(
    board: Board, plan: Plan, manifest: Manifest, directory: Path, stop: StopRequest
) -> Outcome:
    outcome = Outcome(
        plan,
        IDENTICAL,
        events=manifest.events_total,
        branches=manifest.branches,
        log_bytes=manifest.log.size,
        monitor=manifest.monitor_sha256,
    )
    for number, replay in enumerate(plan.replays, 1):
        logs = directory / f"replay-{number}"
        shutil.rmtree(logs, ignore_errors=True)
        checkpoints = plan.mode.checkpoints if number == REPLAYS else 0
        verdict = replaying.replay(
            replay.board(board),
            directory / _RECORDING,
            RunSettings(seed=replay.seed, timeout_s=_REPLAY_DEADLINE_S, checkpoints=checkpoints),
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
