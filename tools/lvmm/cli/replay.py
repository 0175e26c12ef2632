"""`lvmm replay`: replays a recording and compares, or searches it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from lvmm import replaying
from lvmm.board import Board, load_board
from lvmm.cli import arguments, values
from lvmm.cli.run_settings import run_settings
from lvmm.cli.verdict import verdict_table
from lvmm.crash_report import render_crash
from lvmm.divergence import render_divergence
from lvmm.errors import UsageError
from lvmm.fence import describe_unsound
from lvmm.log_alone import CUT_OFF
from lvmm.machine_run import StopRequest
from lvmm.messages import say
from lvmm.packed_recording import unpacked_recording
from lvmm.queries.command import check_options, run_queries
from lvmm.recording_dir import check_replayable, read_manifest, recorded_kernel
from lvmm.session import RunSettings
from lvmm.vmcore.replay_core import ReplayCore, wanted_core


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(
        name, parents=[arguments.run()], help="replay a recording and compare"
    )
    parser.add_argument("directory", type=Path, metavar="DIR_or_PACK_or_LOG")
    parser.add_argument(
        "--image",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file of the guest's that is not in the pack, or of a log's guest; may be repeated",
    )
    parser.add_argument(
        "--from-end",
        action="store_true",
        help="with --gdb or --attach: look at the end first, and go back from there; checkpoints"
        " are kept beside the recording, so that the next time takes seconds",
    )
    parser.add_argument(
        "--core", type=Path, metavar="FILE", help="write registers and memory at the end, as ELF"
    )
    parser.add_argument(
        "--symbols", type=Path, metavar="FILE", help="with --core: a Linux kernel's symbols"
    )
    parser.add_argument(
        "--until", type=values.event, metavar="EVENT", help="end before this event (with --core)"
    )
    parser.add_argument(
        "--checkpoints",
        type=values.positive,
        metavar="BRANCHES",
        help="keep points to go back to, so many conditional branches from one to the next"
        " (with --gdb or --attach 2,000,000)",
    )
    parser.add_argument(
        "--find",
        action="append",
        default=[],
        metavar="QUERY",
        help="search the replay: 'write PLACE [LEN]', 'change PLACE [LEN]', 'call FUNCTION',"
        " 'running EVENT' (docs/queries.md); may be repeated",
    )
    parser.add_argument("--last", action="store_true", help="with --find: only what is found last")
    parser.add_argument(
        "--limit",
        type=values.positive,
        metavar="N",
        help="with --find: so much of each query is enough",
    )


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    with unpacked_recording(options.directory, options.image) as directory:
        options.directory = directory
        return _replay_directory(options)


def _replay_directory(options: argparse.Namespace) -> int:
    queries = check_options(options)
    manifest = read_manifest(options.directory)
    check_replayable(options.directory / manifest.log.path)
    board = load_board(manifest.board)
    settings = run_settings(
        options,
        quiet=options.json or bool(queries),
        kind=manifest.kind,
        kernel=recorded_kernel(options.directory, manifest),
        wait=not options.from_end,
    )
    if options.from_end and not (settings.gdb or settings.attach):
        raise UsageError("--from-end goes with --gdb PORT or --attach PORT")
    core = wanted_core(options)
    if manifest.unfenced:
        say(describe_unsound(manifest.unfenced))
    if queries:
        return run_queries(options, queries, board, settings)
    if core is not None and options.until is not None:
        return _replay_until(options, board, settings, core)
    if manifest.end_reason == CUT_OFF and not (settings.gdb or settings.attach):
        return _replay_cut_off(options, board, settings, core)
    if not (settings.gdb or settings.attach):  # nothing is kept: it may just be killed
        verdict = replaying.replay(board, options.directory, settings, core=core)
    else:
        stop = StopRequest()
        with stop.from_ctrl_c():
            verdict = replaying.replay(board, options.directory, settings, stop=stop, core=core)
    if options.json:
        print(json.dumps({**dataclasses.asdict(verdict), "identical": verdict.identical}, indent=2))
    else:
        print(verdict_table(verdict))
        if verdict.divergence is not None:
            print()
            print(render_divergence(verdict.divergence))
        if verdict.crash is not None:
            print()
            print(render_crash(verdict.crash))
    return 0 if verdict.identical else 3


def _replay_cut_off(
    options: argparse.Namespace,
    board: Board,
    settings: RunSettings,
    core: ReplayCore | None,
) -> int:
    last = replaying.replay_to_last_event(board, options.directory, settings, core)
    if options.json:
        facts = {"before_event": last.index, "kind": last.name, "core": core and str(core.path)}
        print(json.dumps({**facts, "branches": last.branches, "rip": f"{last.rip:#x}"}, indent=2))
    else:
        say(
            f"replayed up to the log's last event, {last.index} ({last.name}), after "
            f"{last.branches} branches: the machine went down then, and there is no end to compare"
        )
    return 0


def _replay_until(
    options: argparse.Namespace, board: Board, settings: RunSettings, core: ReplayCore
) -> int:
    due = replaying.replay_until(board, options.directory, settings, core, options.until)
    if options.json:
        facts = {"core": str(core.path), "before_event": due.index, "kind": due.name}
        print(json.dumps({**facts, "branches": due.branches, "rip": f"{due.rip:#x}"}, indent=2))
    else:
        say(
            f"stopped before event {due.index} ({due.name}), after {due.branches} branches, "
            f"at {due.rip:#x}; core in {core.path}"
        )
    return 0
