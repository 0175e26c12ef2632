"""`lvmm soak`: records and replays until something diverges."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvmm.board import load_board
from lvmm.cli import arguments, values


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name,
        parents=[arguments.on_board()],
        help="record and replay under changing conditions, until something diverges",
    )
    parser.add_argument("--runs", type=values.positive, default=20, metavar="N")
    parser.add_argument(
        "--seed",
        type=values.seed,
        metavar="S",
        help="of the first run; the next has 1 more (random)",
    )
    parser.add_argument(
        "--workload",
        action="append",
        default=[],
        metavar="W",
        help="only this; may be repeated (docs/determinism.md has a list)",
    )
    parser.add_argument(
        "--jobs", type=values.positive, metavar="N", help="runs at once (one a processor, up to 4)"
    )
    parser.add_argument(
        "--again", type=Path, metavar="DIR", help="replay a run that was kept, as it was replayed"
    )
    parser.add_argument(
        "--summary", action="store_true", help="run nothing: show what all soaks so far came to"
    )
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from lvmm.soak import command

    command.run(
        load_board(options.board),
        command.SoakOptions(
            runs=options.runs,
            seed=options.seed,
            workloads=tuple(options.workload),
            jobs=options.jobs,
            again=options.again,
            as_json=options.json,
            summary=options.summary,
        ),
    )
    return 0
