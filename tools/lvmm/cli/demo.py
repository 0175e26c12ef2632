"""`lvmm demo`: records and replays a real Linux."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvmm.board import load_board
from lvmm.cli import arguments


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name, parents=[arguments.on_board()], help="record and replay a real Linux"
    )
    parser.add_argument("-o", "--output", type=Path, default=None, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from lvmm import demo

    return demo.run(load_board(options.board), options.output)
