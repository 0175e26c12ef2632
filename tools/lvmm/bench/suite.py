"""Runs the benchmarks, prints their tables, and keeps the results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lvmm.apt import say
from lvmm.bench import debug_link
from lvmm.bench.results import Section
from lvmm.board import Board
from lvmm.guest_build import ROOT

RESULTS = ROOT / "build" / "bench" / "bench.json"


@dataclass(frozen=True)
class BenchOptions:
    """What the user chooses. `quick`: few repetitions, to see that all works."""

    quick: bool = False
    as_json: bool = False


# A benchmark takes the board and whether it is to be quick. It raises LvmmError.
_BENCHMARKS: tuple[Callable[[Board, bool], Section], ...] = (debug_link.measure,)


def run(board: Board, options: BenchOptions, results: Path = RESULTS) -> None:
    """Runs all benchmarks; each table is printed when it is there. Raises LvmmError, OSError."""
    sections = []
    for benchmark in _BENCHMARKS:
        section = benchmark(board, options.quick)
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
