"""`lvmm build`: makes the boot image alone."""

from __future__ import annotations

import argparse

from lvmm import session
from lvmm.board import load_board
from lvmm.cli import arguments, values
from lvmm.cli.guest_options import guest_of
from lvmm.cli.ring_options import check_ring
from lvmm.cli.run_settings import recording_settings
from lvmm.errors import UsageError
from lvmm.messages import say
from lvmm.output_path import output_path


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    built = arguments.guest(
        {
            "type": values.bios_disk,
            "metavar": "BIOS_NUMBER",
            "help": "the machine's own disk; 0x80 is the BIOS's first, or the USB stick that the"
            " machine was started from",
        },
    )
    parser = commands.add_parser(
        name,
        parents=[arguments.on_board(), built, arguments.recorded()],
        help="make the boot image alone",
    )
    parser.add_argument("-o", "--output", type=output_path, required=True, metavar="IMAGE")
    parser.add_argument("--mode", choices=("record", "live"), default="record")
    parser.add_argument(
        "--wait", action="store_true", help="the guest starts only when gdb says so (see attach)"
    )
    parser.add_argument(
        "--overwrite",
        type=values.recording_id,
        nargs="?",
        const=values.ANY_RECORDING,
        metavar="ID",
        help="let the monitor overwrite the log of recording ID in the machine's memory "
        "(without ID: any log)",
    )


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    board = load_board(options.board)
    check_ring(options, board)
    guest = guest_of(options, board)
    settings = recording_settings(options)
    if settings.triggers.need_line:
        raise UsageError(
            "a breakpoint is set over the monitor's line: for an image, use attach --gdb and "
            "`monitor record start`"
        )
    words = settings.words()
    if options.wait:
        words["wait"] = "1"
    if options.overwrite is not None:
        words["overwrite"] = options.overwrite
    session.monitor_image(
        board,
        guest,
        options.mode,
        options.output,
        menu_timeout_s=options.menu_timeout,
        words=words,
    )
    say(f"{options.output}: boots as a CD, and as a disk when written to one")
    return 0
