#!/usr/bin/env python3
"""Find, check, save and show the lvmm log in a machine's memory or in a recording.

Needs Python 3.11 and one of the packages google-crc32c or crcmod; nothing else of lvmm.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lvmm.errors import LvmmError, UsageError
from lvmm.logs import Recording, commands
from lvmm.logs.devices import parse_device
from lvmm.logs.dump import dump
from lvmm.logs.line import fetch_line, is_line
from lvmm.logs.pcap import pcap
from lvmm.logs.selection import Selection, parse_kinds, parse_span
from lvmm.logs.stats import stats
from lvmm.logs.verify import verify
from lvmm.one_line_parser import OneLineParser
from lvmm.output_path import output_path
from lvmm.timeline.command import timeline
from lvmm.timeline.console_lines import console_times
from lvmm.vmcore.command import core

EPILOG = """\
SOURCE is a raw image of memory (sparse or not), /dev/mem or another memory device, a recording
directory, a log.lvmm file, - for standard input, or the monitor's serial line of a machine whose
guest stands still: /dev/ttyUSB0 or the like, socket://HOST:PORT, rfc2217://HOST:PORT.

exit codes: 0 complete, 1 environment (cannot read or write), 2 usage, or a recording is in the way,
3 salvaged with loss, 4 no log found, 5 a log of another format version, 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        source = options.source
        if is_line(source):
            source = fetch_line(source, _tell)
        with Recording.open(source, options.recording) as recording:
            code = _run(recording, options)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # The reader has had enough: no error, and nothing more to write at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except LvmmError as error:
        print(f"extract_log: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # of what no part of lvmm has foreseen
        print(f"extract_log: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _tell(line: str) -> None:
    print(f"extract_log: {line}", file=sys.stderr, flush=True)


def _run(recording: Recording, options: argparse.Namespace) -> int:
    match options.command:
        case "info":
            return commands.info(recording, options.json)
        case "extract":
            return commands.extract(recording, options.output)
        case "verify":
            return verify(recording, options.json, options.decode)
        case "dump":
            return dump(recording, options.json, _selection(recording, options))
        case "pack":
            return commands.pack(recording, options.output, options.images)
        case "console":
            if options.times or options.json:
                return console_times(recording, options.json)
            return commands.console(recording)
        case "core":
            return core(recording, options.output, options.symbols)
        case "pcap":
            return pcap(recording, options.output)
        case "timeline":
            return timeline(recording, options.output, options.png, options.events)
        case _:
            return stats(recording, options.json, options.top, options.symbols)


def _selection(recording: Recording, options: argparse.Namespace) -> Selection:
    """The events that the options of dump ask for. Raises UsageError."""
    device = options.device
    if options.end < options.start:
        raise UsageError(f"--from {options.start} --to {options.end}: the end is before the start")
    return Selection(
        kinds=parse_kinds(options.type) if options.type is not None else None,
        device=parse_device(device, recording.header) if device is not None else None,
        first=options.events[0],
        last=options.events[1],
        start=options.start,
        end=options.end,
        newest=options.last,
    )


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = OneLineParser(
        prog="extract_log.py",
        description="Find, check, save and show the lvmm log in a machine's memory.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("source", metavar="SOURCE")
    common.add_argument(
        "--recording", metavar="ID", type=_hex, help="which recording, where there are several"
    )
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="JSON on stdout")
    both = [common, as_json]

    commands_of = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands_of.add_parser("info", parents=both, help="what was recorded, and its state")
    extract = commands_of.add_parser("extract", parents=[common], help="save log and console")
    extract.add_argument(
        "-o",
        "--output",
        metavar="DIR_or_FILE",
        type=output_path,
        required=True,
        help="a directory, or a file named *.lvmm for the log alone",
    )
    verify_of = commands_of.add_parser(
        "verify", parents=both, help="check every chunk and every event"
    )
    verify_of.add_argument(
        "--decode",
        action="store_true",
        help="decode every event even where that is slow, as there is no C compiler",
    )
    dump_of = commands_of.add_parser("dump", parents=both, help="print events, one a line")
    dump_of.add_argument("--type", metavar="KIND[,KIND]", help="only these kinds")
    dump_of.add_argument(
        "--device",
        metavar="D",
        help="only of this device: com1, e1000, ... or port:0x3f8-0x3ff, mmio:, msr:, dma:1",
    )
    dump_of.add_argument(
        "--events", metavar="A-B", type=_span, default=(0, 1 << 64), help="only these indices"
    )
    for option, name, default, text in (
        ("--from", "start", 0, "only at this guest time, in branches, and later"),
        ("--to", "end", 1 << 64, "only at this guest time and before"),
    ):
        dump_of.add_argument(
            option, dest=name, metavar="POS", type=_count, default=default, help=text
        )
    dump_of.add_argument("--last", metavar="N", type=_count, help="only the last N of them")
    pack_of = commands_of.add_parser(
        "pack", parents=[common], help="one compressed file that replay and this tool take"
    )
    pack_of.add_argument("-o", "--output", metavar="FILE", type=output_path, required=True)
    pack_of.add_argument(
        "--images", action="store_true", help="with the guest's own files (else their digests)"
    )
    console = commands_of.add_parser("console", parents=both, help="the guest's console output")
    console.add_argument("--times", action="store_true", help="when each line ended, and its event")
    core_of = commands_of.add_parser(
        "core", parents=[common], help="the guest's registers and memory, for gdb, drgn and crash"
    )
    core_of.add_argument("-o", "--output", metavar="FILE", type=output_path, required=True)
    core_of.add_argument(
        "--symbols", metavar="FILE", type=Path, help="a Linux kernel's symbols, from its memory"
    )
    over_time = commands_of.add_parser(
        "timeline", parents=[common], help="a trace for Perfetto, or a picture"
    )
    over_time.add_argument(
        "-o", "--output", metavar="FILE", type=output_path, help="for ui.perfetto.dev"
    )
    over_time.add_argument("--png", metavar="FILE", type=output_path, help="the picture")
    over_time.add_argument("--events", metavar="A-B", type=_span, help="only these indices")
    stats_of = commands_of.add_parser(
        "stats", parents=both, help="events, bytes and exits by kind, device and code address"
    )
    stats_of.add_argument(
        "--top", metavar="N", type=_count, default=20, help="devices and addresses to show (20)"
    )
    stats_of.add_argument(
        "--symbols", metavar="ELF", type=Path, help="names for the code addresses"
    )
    frames = commands_of.add_parser(
        "pcap", parents=[common], help="the frames received and sent, for Wireshark (pcapng)"
    )
    frames.add_argument("-o", "--output", metavar="FILE", type=output_path, required=True)
    return parser


def _hex(text: str) -> int:
    if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]+", text):
        raise argparse.ArgumentTypeError(f"{text}: no hexadecimal ID, as info has it")
    return int(text, 16)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: give a number that is not negative")
    return int(text)


def _span(text: str) -> tuple[int, int]:
    try:
        return parse_span(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
