"""The command line: arguments in, one clear line per error, documented exit codes out."""

from __future__ import annotations

import argparse
import dataclasses
import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lvmm import provision, replaying, session
from lvmm.apt import ensure_packages
from lvmm.board import Board, load_board
from lvmm.cli_arguments import DEFAULT_BOARD, DEFAULT_TIMEOUT_S, command_line
from lvmm.cli_ring import check_ring, ring_settings
from lvmm.crash import read_crash
from lvmm.crash_report import render_crash
from lvmm.debug.attach import AttachOptions, attach
from lvmm.debug.guest_symbols import GuestSymbols
from lvmm.debug.of_a_run import AttachPort
from lvmm.debug.service import GdbOptions
from lvmm.divergence_report import render_divergence
from lvmm.early_reads import describe_early_reads
from lvmm.errors import LvmmError, UsageError
from lvmm.gdb.registers import I386, X86_64
from lvmm.guest import FIRST_DISK, Guest, Kind, check_guest
from lvmm.guest_build import ROOT
from lvmm.guest_disk import check_usb_disk
from lvmm.link import open_stream
from lvmm.log_alone import CUT_OFF
from lvmm.logs import Recording
from lvmm.logs.layout import Begin
from lvmm.machine_run import StopRequest
from lvmm.packed_recording import unpacked_recording
from lvmm.queries.command import check_options, run_queries
from lvmm.recording_dir import Manifest, read_manifest, recorded_kernel
from lvmm.rescue import rescue_image
from lvmm.triggers import Triggers, parse_trigger
from lvmm.vmcore.replay_core import ReplayCore, wanted_core

TEST_WORKERS_MAX = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = command_line()
    options, unknown = parser.parse_known_args(arguments)
    if options.command == "test":
        options.pytest = unknown
    elif unknown:
        parser.error(f"unknown argument: {unknown[0]}")
    try:
        code: int = _COMMANDS[options.command](options)
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


def _fail(message: str, code: int) -> int:
    print(f"lvmm: {' '.join(message.split())}", file=sys.stderr)
    return code


def _say(message: str) -> None:
    print(f"lvmm: {message}", file=sys.stderr, flush=True)


def _show_console(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _settings(
    options: argparse.Namespace, *, quiet: bool, kind: Kind, kernel: Path | None, wait: bool = False
) -> session.RunSettings:
    """What the options say; `wait` is what --gdb means without --wait and --no-wait."""
    gdb = attach_port = None
    if options.attach is not None:
        attach_port = AttachPort(options.attach, bool(options.wait), _say)
    if options.gdb is not None:
        early = I386 if kind == "multiboot" else X86_64
        wait = wait if options.wait is None else options.wait
        symbols = None
        if kind == "linux" and kernel is not None:
            symbols = _symbols(kernel)
        gdb = GdbOptions(options.gdb, wait, _say, early, symbols)
    elif options.wait is not None and attach_port is None:
        raise UsageError("--wait and --no-wait go with --gdb PORT or --attach PORT")
    timeout = options.timeout
    if timeout is None:
        timeout = math.inf if gdb or attach_port else DEFAULT_TIMEOUT_S
    return session.RunSettings(
        net_port=getattr(options, "net_port", None),
        seed=options.seed,
        timeout_s=timeout,
        gdb=gdb,
        attach=attach_port,
        as_disk=getattr(options, "as_disk", False),
        console=None if quiet else _show_console,
        menu_timeout_s=getattr(options, "menu_timeout", 0),
        watchdog_s=getattr(options, "watchdog", 0),
        on_demand=getattr(options, "on_demand", False),
        triggers=_triggers(options),
        from_end=getattr(options, "from_end", False),
        sent_bytes=getattr(options, "sent_bytes", None),
        log_kib=getattr(options, "log_size", None),
        usb_disk=_usb_disk(options),
        unfenced=tuple(getattr(options, "unfenced", ())),
        early_reads=getattr(options, "early_reads", False),
        ring=ring_settings(options),
        sink=session.Sink(getattr(options, "sink", "memory")),
        checkpoints=getattr(options, "checkpoints", None) or 0,
    )


def _usb_disk(options: argparse.Namespace) -> Path | None:
    image: Path | None = getattr(options, "usb_disk", None)
    if image is not None:
        check_usb_disk(image)
    return image


def _symbols(kernel: Path) -> GuestSymbols:
    return GuestSymbols(kernel, ROOT / "build" / "gdb" / f"symbols-{os.getpid()}.elf")


def _triggers(options: argparse.Namespace) -> Triggers:
    texts = (getattr(options, f"{name}_at", None) for name in ("start", "stop"))
    triggers = Triggers(*(parse_trigger(text) if text is not None else None for text in texts))
    debugged = (getattr(options, name, None) is not None for name in ("gdb", "attach"))
    if triggers.need_line and any(debugged):
        raise UsageError("--start-at and --stop-at 'break' go without --gdb and --attach")
    return triggers


def _guest(options: argparse.Namespace, board: Board) -> Guest:
    memory = options.memory if options.memory is not None else board.memory.guest_default_mib
    if options.linux is not None:
        if options.module:
            raise UsageError("--module is for --multiboot; a Linux kernel takes --initrd")
        extra = (options.initrd,) if options.initrd else ()
        guest = Guest("linux", options.linux, options.append, memory, extra)
    elif options.boot_sector is not None:
        if options.initrd or options.module or options.append:
            raise UsageError("--boot-sector takes no --initrd, --module or --append")
        guest = Guest("sector", options.boot_sector, "", memory)
    elif options.disk is not None:
        guest = _disk_guest(options, memory)
    else:
        if options.initrd:
            raise UsageError("--initrd is for --linux; a multiboot guest takes --module")
        guest = Guest("multiboot", options.multiboot, options.append, memory, tuple(options.module))
    if getattr(options, "disk_write", False) and guest.kind != "disk":
        raise UsageError("--disk-write goes with --disk")
    check_guest(guest, board)
    return guest


def _disk_guest(options: argparse.Namespace, memory_mib: int) -> Guest:
    if options.initrd or options.module or options.append:
        raise UsageError("--disk takes no --initrd, --module or --append: what is booted is on it")
    if options.command == "build":
        return Guest("disk", None, "", memory_mib, drive=options.disk)
    if options.as_disk:
        raise UsageError("--as-disk: with --disk the machine's disk is the guest's")
    return Guest("disk", None, "", memory_mib, (), options.disk, FIRST_DISK, options.disk_write)


def _record(options: argparse.Namespace) -> int:
    if options.ring is not None and not options.overwrite:
        raise UsageError(
            "--ring loses the log's older part: say --overwrite, too"
            " (or --log-size KIB, where a full log ends the recording)"
        )
    if options.overwrite and options.ring is None:
        raise UsageError("--overwrite goes with --ring SIZE")
    board = load_board(options.board)
    check_ring(options, board)
    guest = _guest(options, board)
    output = options.output or session.default_directory()
    stop = StopRequest()
    with stop.from_ctrl_c():
        manifest = session.record(
            board,
            guest,
            _settings(options, quiet=options.json, kind=guest.kind, kernel=guest.kernel),
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
        _say(_recorded_line(manifest))
        if manifest.altered:
            _say("the debugger has altered the guest by force: a replay will go another way")
        _say_unsound(manifest)
        if manifest.early_reads is not None:
            _say(describe_early_reads(manifest.early_reads))
        if options.ring is not None:
            _say(_kept_line(output))
        _say(f"recording in {output}; replay it with: ./lvmm replay {output}")
    return 0


def _say_unsound(manifest: Manifest) -> None:
    if manifest.unfenced:
        devices = ", ".join(manifest.unfenced)
        _say(f"the recording is unsound (--unfenced {devices}): a replay may go another way")


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


def _replay(options: argparse.Namespace) -> int:
    with unpacked_recording(options.directory, options.image) as directory:
        options.directory = directory
        return _replay_directory(options)


def _replay_directory(options: argparse.Namespace) -> int:
    queries = check_options(options)
    manifest = read_manifest(options.directory)
    board = load_board(manifest.board)
    settings = _settings(
        options,
        quiet=options.json or bool(queries),
        kind=manifest.kind,
        kernel=recorded_kernel(options.directory, manifest),
        wait=not options.from_end,
    )
    if options.from_end and not (settings.gdb or settings.attach):
        raise UsageError("--from-end goes with --gdb PORT or --attach PORT")
    core = wanted_core(options)
    _say_unsound(manifest)
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
    settings: session.RunSettings,
    core: ReplayCore | None,
) -> int:
    last = replaying.replay_to_last_event(board, options.directory, settings, core)
    if options.json:
        facts = {"before_event": last.index, "kind": last.name, "core": core and str(core.path)}
        print(json.dumps({**facts, "branches": last.branches, "rip": f"{last.rip:#x}"}, indent=2))
    else:
        _say(
            f"replayed up to the log's last event, {last.index} ({last.name}), after "
            f"{last.branches} branches: the machine went down then, and there is no end to compare"
        )
    return 0


def _replay_until(
    options: argparse.Namespace, board: Board, settings: session.RunSettings, core: ReplayCore
) -> int:
    due = replaying.replay_until(board, options.directory, settings, core, options.until)
    if options.json:
        facts = {"core": str(core.path), "before_event": due.index, "kind": due.name}
        print(json.dumps({**facts, "branches": due.branches, "rip": f"{due.rip:#x}"}, indent=2))
    else:
        _say(
            f"stopped before event {due.index} ({due.name}), after {due.branches} branches, "
            f"at {due.rip:#x}; core in {core.path}"
        )
    return 0


def verdict_table(verdict: replaying.ReplayVerdict) -> str:
    """What a replay showed, for people."""

    def yes(same: bool) -> str:
        return "identical" if same else "DIFFERENT"

    console = yes(verdict.console_identical)
    if verdict.console_differs_at is not None:
        console += f" from byte {verdict.console_differs_at}"
    memory = yes(verdict.memory_identical)
    if verdict.log_alone:
        console = memory = "not known: a log alone"
    if verdict.differing_pages:
        memory += ", first pages: " + " ".join(f"{page:#x}" for page in verdict.differing_pages)
    same = "the replay is identical" if verdict.identical else "THE REPLAY DIFFERS"
    if verdict.altered:
        same = "the debugger has altered the replay"
    rows = [
        ("events matched", f"{verdict.events_matched} of {verdict.events_total}"),
        ("console", console),
        ("registers", yes(verdict.registers_identical)),
        ("memory", memory),
        ("end", f"{verdict.end_reason} (recorded: {verdict.recorded_end_reason})"),
        ("seed", str(verdict.seed)),
        ("time", f"{verdict.wall_s:.1f} s"),
        ("verdict", same),
    ]
    return "\n".join(f"{name:<15} {value}" for name, value in rows)


def _live(options: argparse.Namespace) -> int:
    board = load_board(options.board)
    guest = _guest(options, board)
    stop = StopRequest()
    with stop.from_ctrl_c():
        settings = _settings(options, quiet=options.json, kind=guest.kind, kernel=guest.kernel)
        result = session.live(board, guest, settings, stop)
    report = result.report
    if options.json:
        facts = {
            "end_reason": report.reason,
            "wall_s": result.wall_s,
            "exits": report.exits,
            "crash": result.crash,
        }
        print(json.dumps(facts, indent=2))
    else:
        _say(f"the guest ended ({report.reason}) after {result.wall_s:.1f} s")
        if result.crash is not None:
            print(f"\n{render_crash(result.crash)}")
    return 0


def _attach(options: argparse.Namespace) -> int:
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
        symbols = _symbols(options.linux)
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


def _build(options: argparse.Namespace) -> int:
    board = load_board(options.board)
    check_ring(options, board)
    guest = _guest(options, board)
    settings = session.RunSettings(
        on_demand=options.on_demand,
        triggers=_triggers(options),
        sent_bytes=options.sent_bytes,
        log_kib=options.log_size,
        unfenced=tuple(options.unfenced),
        ring=ring_settings(options),
        sink=session.Sink(options.sink),
    )
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
    _say(f"{options.output}: boots as a CD, and as a disk when written to one")
    return 0


def _rescue(options: argparse.Namespace) -> int:
    rescue_image(load_board(options.board), options.output, options.append, options.menu_timeout)
    _say(f"{options.output}: write it to a USB stick; it saves the log on the stick itself")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from lvmm.demo import run

    return run(load_board(options.board), options.output)


def _bench(options: argparse.Namespace) -> int:
    from lvmm.bench import suite

    suite.run(
        load_board(options.board),
        suite.BenchOptions(options.quick, options.json, tuple(options.names), options.peers),
    )
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from lvmm.doctor.command import run

    board = load_board(options.board or DEFAULT_BOARD)
    return run(board, boots=options.board is not None, as_json=options.json)


def _soak(options: argparse.Namespace) -> int:
    from lvmm.soak.command import SoakOptions, run

    run(
        load_board(options.board),
        SoakOptions(
            runs=options.runs,
            seed=options.seed,
            workloads=tuple(options.workload),
            jobs=options.jobs,
            again=options.again,
            as_json=options.json,
            summary=options.summary,
        ),
    )
    return 0


def _test(options: argparse.Namespace) -> int:
    if not options.host:
        provision.setup()
    ensure_packages(provision.TEST_PACKAGES)
    folders = ["tests/host"] if options.host else ["tests"]
    given = any((ROOT / word.split("::")[0]).exists() for word in options.pytest)
    paths = [] if given else folders
    # Most tests keep one processor busy; a machine of theirs takes some 400 MB of memory.
    workers = min(os.cpu_count() or 1, TEST_WORKERS_MAX)
    parallel = ["-n", str(workers), "--dist", "loadgroup"]
    command = [sys.executable, "-m", "pytest", "--durations=15", *parallel, *paths]
    command += options.pytest
    return subprocess.run(command, cwd=ROOT, check=False).returncode


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "record": _record,
    "replay": _replay,
    "live": _live,
    "attach": _attach,
    "build": _build,
    "rescue": _rescue,
    "demo": _demo,
    "bench": _bench,
    "doctor": _doctor,
    "soak": _soak,
    "test": _test,
}
