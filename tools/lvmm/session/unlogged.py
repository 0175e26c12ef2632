"""Runs without a log: live under the monitor, and on the bare emulator."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

from lvmm.board import Board
from lvmm.crash import CrashedGuest
from lvmm.crash_report import render_crash
from lvmm.errors import LvmmError
from lvmm.guest import Guest, check_guest
from lvmm.image import BootImage, build_image
from lvmm.last_look import LastLook
from lvmm.machine_run import RunOptions, RunResult, StopRequest, run_machine
from lvmm.session.outcome import raise_run_error
from lvmm.session.preparation import check_space, monitor_image
from lvmm.session.settings import RunSettings, disk_options, run_options


def live(
    board: Board, guest: Guest, settings: RunSettings, stop: StopRequest | None = None
) -> RunResult:
    """Runs the guest under the monitor, without a log."""
    return _temporary_run(board, guest, settings, "live", stop)


def run_native(board: Board, guest: Guest, options: RunOptions) -> RunResult:
    """Runs a Linux or multiboot guest on the bare emulator: what recording is compared with."""
    check_guest(guest, board)
    kernel, *initrd = guest.boot_files()
    memory = f" mem={guest.memory_mib}M" if guest.kind == "linux" else ""
    files = (dataclasses.replace(kernel, text=guest.cmdline + memory), *initrd)
    with tempfile.TemporaryDirectory(prefix="lvmm-native-") as scratch:
        image = Path(scratch) / "boot.iso"
        build_image(BootImage(None, {}, files, loader=guest.kind), image)
        return run_machine(
            board, image, Path(scratch) / "run", dataclasses.replace(options, monitored=False)
        )


def _temporary_run(
    board: Board, guest: Guest, settings: RunSettings, mode: str, stop: StopRequest | None
) -> RunResult:
    check_guest(guest, board)
    with tempfile.TemporaryDirectory(prefix=f"lvmm-{mode}-") as scratch:
        check_space(Path(scratch), guest, board)
        image = Path(scratch) / "boot.iso"
        monitor_image(
            board,
            guest,
            mode,
            image,
            menu_timeout_s=settings.menu_timeout_s,
            words=settings.words(),
        )
        run_dir = Path(scratch) / "run"
        look = LastLook()
        options = run_options(settings, **disk_options(guest), at_end=look)
        result = run_machine(board, image, run_dir, options, stop)
        crashed = CrashedGuest(guest.kind, guest.kernel, result.report.errors)
        result.crash = look.explain(crashed, run_dir / "ram.img", result.report)
        try:
            raise_run_error(result)
        except LvmmError:
            if result.crash is not None:
                print(render_crash(result.crash), file=sys.stderr)
            raise
        return result
