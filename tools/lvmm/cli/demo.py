"""`lvmm demo`: records and replays a real Linux."""

from __future__ import annotations

import argparse

from lvmm.board import load_board
from lvmm.cli import arguments
from lvmm.output_path import output_path


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name, parents=[arguments.on_board()], help="record and replay a real Linux"
    )
    parser.add_argument("-o", "--output", type=output_path, default=None, metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    from lvmm import demo

    return demo.run(load_board(options.board), options.output)
