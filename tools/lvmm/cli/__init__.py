"""The command line: arguments in, one clear line per error, documented exit codes out.

A module each command: its arguments (add) and what it does (run).
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from lvmm import __version__
from lvmm.cli import attach, bench, build, demo, doctor, live, record, replay, rescue, soak, test
from lvmm.errors import LvmmError
from lvmm.messages import say
from lvmm.one_line_parser import OneLineParser

EXIT_CODES = """\
exit codes:
  0  done; of replay: everything matched
  1  environment: a missing tool, no permission, a full disk, a port in use
  2  bad input: an unknown board, a file that is no kernel, too little memory
  3  of replay: the replay left the recording, or ended differently
  4  the recording is incomplete or damaged
  5  the recording was made by another version
  6  the emulator or the monitor failed
  7  a deadline passed
  130  interrupted
"""

# In the order of the help's list.
_COMMANDS: dict[str, ModuleType] = {
    "record": record,
    "replay": replay,
    "live": live,
    "attach": attach,
    "build": build,
    "rescue": rescue,
    "demo": demo,
    "bench": bench,
    "doctor": doctor,
    "soak": soak,
    "test": test,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = command_line()
    options, unknown = parser.parse_known_args(arguments)
    if options.command == "test":
        options.pytest = unknown
    elif unknown:
        parser.error(f"unknown argument: {unknown[0]}")
    try:
        code: int = _COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return code
    except LvmmError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _fail(f"disk full: {error.filename or 'writing failed'}", 1)
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)


def command_line() -> argparse.ArgumentParser:
    """The parser; `command` is the name of one of the commands."""
    parser: argparse.ArgumentParser = OneLineParser(
        prog="lvmm",
        description="Record a whole machine and replay it exactly.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lvmm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in _COMMANDS.items():
        module.add(name, commands)
    return parser


def _fail(message: str, code: int) -> int:
    say(message)
    return code
