"""`lvmm rescue`: makes an image that saves a log out of a machine's memory."""

from __future__ import annotations

import argparse

from lvmm.board import load_board
from lvmm.cli import arguments, values
from lvmm.messages import say
from lvmm.output_path import output_path
from lvmm.rescue import rescue_image


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name,
        parents=[arguments.on_board(), arguments.menu()],
        help="make an image that boots a Linux which saves the log out of the machine's memory",
    )
    parser.add_argument("-o", "--output", type=output_path, required=True, metavar="IMAGE")
    parser.add_argument(
        "--append",
        type=values.one_line,
        default="",
        metavar="STR",
        help="more words for that Linux's command line",
    )


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    rescue_image(load_board(options.board), options.output, options.append, options.menu_timeout)
    say(f"{options.output}: write it to a USB stick; it saves the log on the stick itself")
    return 0
