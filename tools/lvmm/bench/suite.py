"""Runs the benchmarks, prints their tables, and keeps the results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lvmm.apt import say
from lvmm.bench import debug_link, devices, flight_recorder, peers, time_travel
from lvmm.bench.results import Section
from lvmm.board import Board
from lvmm.errors import UsageError
from lvmm.guest_build import ROOT

RESULTS = ROOT / "build" / "bench" / "bench.json"


@dataclass(frozen=True)
class BenchOptions:
    """What the user chooses. `quick`: few repetitions, to see that all works. `names`: of the
    benchmarks to be run; none: all. `peers`: QEMU beside lvmm, too.
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


def _measured(board: Board, options: BenchOptions) -> Iterator[Section]:
    for name, benchmark in _BENCHMARKS.items():
        if not options.names or name in options.names:
            yield benchmark(board, options.quick)
    if options.peers or peers.NAME in options.names:
        yield from peers.measure(board, options.quick)


def run(board: Board, options: BenchOptions, results: Path = RESULTS) -> None:
    """Runs benchmarks; each table is printed when it is there. Raises LvmmError, OSError."""
    known = (*_BENCHMARKS, peers.NAME)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise UsageError(f"there is no benchmark {unknown[0]}: there are {', '.join(known)}")
    sections = []
    for section in _measured(board, options):
        sections.append(section)
        if not options.as_json:
            print(f"{section.table()}\n", flush=True)
    facts = {
        "version": 1,
        "board": board.name,
        "ips": board.emulator.ips,
        "quick": options.quick,
        "benchmarks": [section.as_json() for section in sections],
    }
    results.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=2) + "\n"
    results.write_text(text, encoding="utf-8")
    if options.as_json:
        sys.stdout.write(text)
    say(f"results in {results}")
