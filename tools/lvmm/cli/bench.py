"""`lvmm bench`: measures."""

from __future__ import annotations

import argparse

from lvmm.board import load_board
from lvmm.cli import arguments


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name,
        parents=[arguments.on_board()],
        help="measure; the results go to build/bench/bench.json too",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a benchmark: debug-link, devices, flight-recorder, time-travel, workloads, peers; or"
        " one of the workloads: boot, fork, faults, timers, switch, tsc, rep, fpu, selfmod, disk,"
        " udp, tcp, appliance (default: all but the peers)",
    )
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument(
        "--peers",
        action="store_true",
        help="QEMU's record and replay of the same guest, too; QEMU is installed if it is missing",
    )
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from lvmm.bench import suite

    suite.run(
        load_board(options.board),
        suite.BenchOptions(options.quick, options.json, tuple(options.names), options.peers),
    )
    return 0
