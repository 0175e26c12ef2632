"""A recorded run: what the machine leaves becomes a directory of its own."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lvmm import recording_dir
from lvmm.board import Board
from lvmm.crash_report import render_crash
from lvmm.early_reads import find_early_reads
from lvmm.errors import LvmmError
from lvmm.guest import Guest, check_guest
from lvmm.guest_disk import describe_disk
from lvmm.machine_run import StopRequest, run_machine
from lvmm.messages import say
from lvmm.recording_dir import Manifest
from lvmm.session.leftovers import describe, explain, extract, store_guest, take_received
from lvmm.session.outcome import raise_run_error
from lvmm.session.preparation import check_space, monitor_image
from lvmm.session.settings import RunSettings, Sink, disk_options, run_options, with_log

# The text with which the demo's guest says that it has reached init.
BOOT_MARK = "lvmm: init"


def default_directory() -> Path:
    """recordings/<date-time> in the current directory."""
    return Path("recordings") / time.strftime("%Y-%m-%d-%H%M%S")


def record(
    board: Board,
    guest: Guest,
    settings: RunSettings,
    output: Path,
    stop: StopRequest | None = None,
    before_extraction: Callable[[Path], None] | None = None,
) -> Manifest:
    """Records a run of the guest into the directory `output`.

    At the deadline or on a stop request the recording up to there is sealed and complete. When the
    machine fails, what its memory holds is saved in `output`.partial, and the error raised.
    `before_extraction` is called with the memory file when the machine has ended.
    """
    check_guest(guest, board)
    check_space(output.parent, guest, board)
    partial = recording_dir.create_partial(output)
    options = run_options(settings, **disk_options(guest), marks=(BOOT_MARK, *settings.marks))
    run_dir = partial / recording_dir.RUN
    options = with_log(options, run_dir / "ram.img")
    if settings.sink != Sink.MEMORY:
        options = dataclasses.replace(options, log_sink=partial / recording_dir.LOG)
    image = run_dir / "boot.iso"
    try:
        disk = describe_disk(guest.disk) if guest.disk is not None else None
        visitor = settings.triggers.visit(guest, say)
        options = dataclasses.replace(options, visitor=visitor)
        stored = store_guest(guest, partial)
        monitor = monitor_image(
            board,
            stored,
            "record",
            image,
            menu_timeout_s=settings.menu_timeout_s,
            words=settings.words(),
        )
        result = run_machine(board, image, run_dir, options, stop)
    except BaseException:
        recording_dir.remove(partial)
        raise
    ram = run_dir / "ram.img"
    if before_extraction is not None and result.error is None:
        before_extraction(ram)
    if settings.sink == Sink.MEMORY:
        extract(ram, partial, result)
    else:
        take_received(partial, result)
    image.unlink()
    crash = explain(partial, stored, ram, result)
    try:
        raise_run_error(result)
    except LvmmError as error:
        if crash is not None:
            print(render_crash(crash), file=sys.stderr)
        raise _with_salvage(error, partial) from None
    manifest = describe(board, guest, stored, partial, result, options, monitor)
    early = None
    if settings.early_reads:
        early = find_early_reads(partial / recording_dir.LOG, stored, ram)
    # The disk as it was before the run.
    manifest = dataclasses.replace(
        manifest, disk=disk, unfenced=settings.unfenced, early_reads=early
    )
    recording_dir.write_manifest(partial, manifest)
    for name in ("ram.img", "stats", "bochs.out", "console.log"):
        (run_dir / name).unlink(missing_ok=True)
    recording_dir.complete(partial, output)
    return manifest


def _with_salvage(error: LvmmError, partial: Path) -> LvmmError:
    saved = (partial / recording_dir.LOG).exists()
    what = f"the log up to there is in {partial}" if saved else f"no log in {partial}"
    return type(error)(f"{error} ({what})")
