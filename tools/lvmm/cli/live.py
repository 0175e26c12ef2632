"""`lvmm live`: runs a guest without a log."""

from __future__ import annotations

import argparse
import json

from lvmm import session
from lvmm.board import load_board
from lvmm.cli import arguments
from lvmm.cli.guest_options import guest_of
from lvmm.cli.run_settings import run_settings
from lvmm.crash_report import render_crash
from lvmm.machine_run import StopRequest
from lvmm.messages import say


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    commands.add_parser(
        name,
        parents=[
            arguments.on_board(),
            arguments.guest_on_disk_image(),
            arguments.run(),
            arguments.machine(),
        ],
        help="run a guest without a log",
    )


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    board = load_board(options.board)
    guest = guest_of(options, board)
    stop = StopRequest()
    with stop.from_ctrl_c():
        settings = run_settings(options, quiet=options.json, kind=guest.kind, kernel=guest.kernel)
        result = session.live(board, guest, settings, stop)
    report = result.report
    if options.json:
        facts = {
            "end_reason": report.reason,
            "wall_s": result.wall_s,
            "exits": report.exits,
            "crash": result.crash,
        }
        print(json.dumps(facts, indent=2))
    else:
        say(f"the guest ended ({report.reason}) after {result.wall_s:.1f} s")
        if result.crash is not None:
            print(f"\n{render_crash(result.crash)}")
    return 0
