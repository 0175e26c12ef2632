"""What a run needs before its machine starts: room on the disk, and the image that it boots."""

from __future__ import annotations

import shutil
from pathlib import Path

from lvmm.board import Board
from lvmm.errors import EnvironmentProblem
from lvmm.guest import Guest
from lvmm.image import BootFile, BootImage, build_image
from lvmm.monitor_build import monitor_elf

# Besides the images: what a run writes into its directory at most, without the memory file.
_RUN_OVERHEAD_BYTES = 64 << 20


def monitor_image(
    board: Board,
    guest: Guest,
    mode: str,
    output: Path,
    log: Path | None = None,
    menu_timeout_s: int = 0,
    words: dict[str, str] | None = None,
) -> Path:
    """Builds the boot image for a run of the guest under the monitor; returns the monitor used.

    `words` are further settings for the monitor's command line, as of RunSettings.words().
    """
    monitor = monitor_elf(board.name)
    files = list(guest.boot_files())
    if log is not None:
        files.append(BootFile("log.lvmm", log, "log"))
    settings = {"mode": mode, **guest.words(), **(words or {})}
    build_image(BootImage(monitor, settings, tuple(files), menu_timeout_s), output)
    return monitor


def _run_bytes(board: Board, memory_mib: int) -> int:
    return (memory_mib << 20) + board.memory.log_bytes + _RUN_OVERHEAD_BYTES


def run_mib(board: Board) -> int:
    """MiB of disk that a run with the board's usual memory may need, besides the guest's files."""
    return _run_bytes(board, board.memory.guest_default_mib) >> 20


def check_space(directory: Path, guest: Guest, board: Board) -> None:
    """Raises EnvironmentProblem when the disk cannot take a run with this guest."""
    files = sum(path.stat().st_size for path in guest.files)
    needed = _run_bytes(board, guest.memory_mib) + 4 * files
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise EnvironmentProblem(
            f"disk full: {existing} has {free >> 20} MiB free, this run may need {needed >> 20} MiB"
        )
