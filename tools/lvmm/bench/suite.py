"""Runs the benchmarks, prints their tables, and keeps the results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lvmm.bench import debug_link, devices, flight_recorder, in_modes, peers, time_travel
from lvmm.bench.results import Section
from lvmm.bench.workloads import GROUPS
from lvmm.board import Board
from lvmm.errors import UsageError
from lvmm.guest_build import ROOT
from lvmm.messages import say

RESULTS = ROOT / "build" / "bench" / "bench.json"


@dataclass(frozen=True)
class BenchOptions:
    """What the user chooses. `quick`: few repetitions, to see that all works. `names`: of the
    benchmarks to be run, or of workloads; none: all. `peers`: QEMU beside lvmm, too.
    """

    quick: bool = False
    as_json: bool = False
    names: tuple[str, ...] = ()
    peers: bool = False


# A benchmark takes the board and whether it is to be quick. It raises LvmmError.
_BENCHMARKS: dict[str, Callable[[Board, bool], Section]] = {
    "debug-link": debug_link.measure,
    "devices": devices.measure,
    "flight-recorder": flight_recorder.measure,
    "time-travel": time_travel.measure,
}
WORKLOADS = "workloads"
NAMES = (*_BENCHMARKS, WORKLOADS, peers.NAME, *GROUPS)


def _run_all(board: Board, options: BenchOptions, folder: Path) -> Iterator[Section]:
    """The sections of what was chosen."""
    for name, benchmark in _BENCHMARKS.items():
        if not options.names or name in options.names:
            yield benchmark(board, options.quick)
    groups = tuple(name for name in options.names if name in GROUPS)
    if groups or not options.names or WORKLOADS in options.names:
        chosen = () if WORKLOADS in options.names else groups
        yield from in_modes.measure(board, options.quick, chosen, folder)
    if options.peers or peers.NAME in options.names:
        yield from peers.measure(board, options.quick)


def run(board: Board, options: BenchOptions, results: Path = RESULTS) -> None:
    """Runs benchmarks; each table is printed when it is there. Raises LvmmError, OSError."""
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        raise UsageError(f"there is no benchmark {unknown[0]}: there are {', '.join(NAMES)}")
    sections = []
    text = ""
    for section in _run_all(board, options, results.parent):
        sections.append(section)
        if not options.as_json:
            print(f"{section.table()}\n", flush=True)
        text = _facts(board, options, sections)  # kept, should the next one fail
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(text, encoding="utf-8")
    if options.as_json:
        sys.stdout.write(text)
    say(f"results in {results}")


def _facts(board: Board, options: BenchOptions, sections: list[Section]) -> str:
    facts = {
        "version": 1,
        "board": board.name,
        "ips": board.emulator.ips,
        "quick": options.quick,
        "benchmarks": [section.as_json() for section in sections],
    }
    return json.dumps(facts, indent=2) + "\n"
