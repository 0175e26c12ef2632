"""`lvmm doctor`: tells what this machine and a board can do."""

from __future__ import annotations

import argparse

from lvmm.board import load_board
from lvmm.cli import arguments


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name,
        help="tell what this machine and a board can do, and what to fix",
        description="Tells what this machine has and lacks; it changes nothing. With --board it"
        " boots the monitor there, without a guest, and tells what that finds. The exit code is 0"
        " when nothing is missing, else 1.",
    )
    parser.add_argument("--board", metavar="BOARD", help="a board of boards/, which is booted")
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from lvmm.doctor import command

    board = load_board(options.board or arguments.DEFAULT_BOARD)
    return command.run(board, boots=options.board is not None, as_json=options.json)
