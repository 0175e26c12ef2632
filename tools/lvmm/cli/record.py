"""`lvmm record`: runs a guest and records it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from lvmm import session
from lvmm.board import load_board
from lvmm.cli import arguments
from lvmm.cli.guest_options import guest_of
from lvmm.cli.ring_options import check_ring
from lvmm.cli.run_settings import run_settings
from lvmm.crash import read_crash
from lvmm.crash_report import render_crash
from lvmm.early_reads import describe_early_reads
from lvmm.errors import UsageError
from lvmm.fence import describe_unsound
from lvmm.logs import Recording
from lvmm.logs.layout import Begin
from lvmm.machine_run import StopRequest
from lvmm.messages import say
from lvmm.output_path import output_path
from lvmm.recording_dir import Manifest


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name,
        parents=[
            arguments.on_board(),
            arguments.guest_on_disk_image(),
            arguments.run(),
            arguments.machine(),
            arguments.recorded(),
        ],
        help="run a guest and record it",
    )
    parser.add_argument("-o", "--output", type=output_path, metavar="DIR")
    parser.add_argument(
        "--overwrite", action="store_true", help="with --ring: what is old may be lost"
    )


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    if options.ring is not None and not options.overwrite:
        raise UsageError(
            "--ring loses the log's older part: say --overwrite, too"
            " (or --log-size KIB, where a full log ends the recording)"
        )
    if options.overwrite and options.ring is None:
        raise UsageError("--overwrite goes with --ring SIZE")
    board = load_board(options.board)
    check_ring(options, board)
    guest = guest_of(options, board)
    output = options.output or session.default_directory()
    stop = StopRequest()
    with stop.from_ctrl_c():
        manifest = session.record(
            board,
            guest,
            run_settings(options, quiet=options.json, kind=guest.kind, kernel=guest.kernel),
            output,
            stop,
        )
    crash = read_crash(output)
    if options.json:
        facts = {"directory": str(output), "crash": crash, **dataclasses.asdict(manifest)}
        print(json.dumps(facts, indent=2))
    else:
        if crash is not None:
            print(f"\n{render_crash(crash)}\n")
        say(_recorded_line(manifest))
        if manifest.altered:
            say("the debugger has altered the guest by force: a replay will go another way")
        if manifest.unfenced:
            say(describe_unsound(manifest.unfenced))
        if manifest.early_reads is not None:
            say(describe_early_reads(manifest.early_reads))
        if options.ring is not None:
            say(_kept_line(output))
        say(f"recording in {output}; replay it with: ./lvmm replay {output}")
    return 0


def _kept_line(directory: Path) -> str:
    """What a ring has kept of the run."""
    with Recording.open(directory) as recording:
        first = next(recording.events(), None)
    if first is None or not isinstance(first.payload, Begin):
        return "the ring has not gone round: the recording begins with the guest's start"
    return f"the ring has kept what came after {first.branches} branches"


def _recorded_line(manifest: Manifest) -> str:
    return (
        f"the guest ended ({manifest.end_reason}) after {manifest.branches} branches; "
        f"{manifest.events_total} events, log {manifest.log.size} bytes, {manifest.wall_s:.1f} s"
    )
