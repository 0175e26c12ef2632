"""`lvmm attach`: debugs a machine at its monitor's serial line."""

from __future__ import annotations

import argparse
from pathlib import Path

from lvmm.cli import arguments, values
from lvmm.cli.run_settings import symbols_of
from lvmm.debug.attach import AttachOptions, attach
from lvmm.errors import UsageError
from lvmm.link import open_stream


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(name, help="debug a machine at its monitor's serial line")
    parser.add_argument(
        "--serial",
        required=True,
        metavar="LINE",
        help="/dev/ttyUSB0 or the like, HOST:PORT, socket://HOST:PORT or rfc2217://HOST:PORT; "
        ":PORT for a run with --attach PORT",
    )
    parser.add_argument(
        "--gdb", type=values.tcp_port, metavar="PORT", help="serve gdb on this port"
    )
    parser.add_argument(
        "--console", action="store_true", help="show the guest's console; type to it"
    )
    parser.add_argument(
        "--linux", type=Path, metavar="BZIMAGE", help="the guest's kernel, for `monitor symbols`"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="a copy of the console")
    parser.add_argument(
        "--save-log",
        type=Path,
        metavar="FILE",
        help="take the log of a recording meanwhile (log.lvmm; one that exists is gone on with)",
    )
    parser.add_argument("--json", action="store_true", help="the state as JSON on stdout")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if options.log is not None and not options.console:
        raise UsageError("--log goes with --console")
    if options.json and (options.console or options.gdb is not None):
        raise UsageError("--json shows the state once: it goes without --gdb and --console")
    symbols = None
    if options.linux is not None:
        if options.gdb is None:
            raise UsageError("--linux is for gdb's `monitor symbols`: it goes with --gdb PORT")
        if not options.linux.is_file():
            raise UsageError(f"no such file: {options.linux}")
        symbols = symbols_of(options.linux)
    wanted = AttachOptions(
        options.gdb,
        options.console,
        options.log,
        options.json,
        options.save_log,
        symbols,
    )
    attach(lambda: open_stream(options.serial), wanted)
    return 0
