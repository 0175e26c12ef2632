"""Runs the workloads in all modes: figures, aims and pictures."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lvmm.bench import aims, plots, workloads
from lvmm.bench.modes import BOOT, Mode, Phase, run_modes
from lvmm.bench.results import Section
from lvmm.bench.throughput import Workload, section
from lvmm.board import Board
from lvmm.messages import say


def measure(board: Board, quick: bool, names: tuple[str, ...], folder: Path) -> list[Section]:
    """Runs the workloads of these groups, of all without a name: their figures, and the aims'.

    Pictures go to `folder`. Raises LvmmError.
    """
    found: list[Workload] = []
    entry = 0
    with tempfile.TemporaryDirectory(prefix="lvmm-bench-") as scratch:
        for machine in workloads.machines(board, names, quick, Path(scratch)):
            ran = run_modes(board, machine, Path(scratch) / machine.name)
            entry = entry or ran[Mode.RECORD].entry_instructions
            phases = [Phase(BOOT, "boot", 1)] if machine.boots else []
            for phase in (*phases, *machine.phases):
                spent = {mode: one.spent[phase.name] for mode, one in ran.items()}
                found.append(Workload(phase, spent))
            shutil.rmtree(Path(scratch) / machine.name)
    for file in plots.write_plots(found, folder):
        say(f"picture in {file}")
    by_name = {workload.phase.name: workload for workload in found}
    return [section(found), *filter(None, [aims.section(by_name, entry)])]
