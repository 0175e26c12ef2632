"""Directories of runs: whose they are while a run is under way, and what a killed soak has left."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RUNNING = ".running"  # beside the directory: a file that is locked while the run is under way


@contextmanager
def claimed(folder: Path, seed: int) -> Iterator[Path]:
    """A new directory for a run of this seed, which nobody else uses meanwhile: `folder`/SEED,
    or with a number behind it where that one is another soak's, or has a run that was kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        directory = folder / (str(seed) if number == 1 else f"{seed}-{number}")
        if directory.exists():
            continue
        with _lock(directory) as ours:
            if ours and not directory.exists():
                directory.mkdir()
                yield directory
                return


def sweep(folder: Path) -> None:
    """Removes runs that were under way when their soak was killed."""
    for path in folder.glob(f"*{_RUNNING}"):
        directory = path.with_name(path.name.removesuffix(_RUNNING))
        with _lock(directory) as ours:
            if ours:
                shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _lock(directory: Path) -> Iterator[bool]:
    """Whether the directory is ours, until this is left. The lock goes with the process."""
    path = directory.with_name(directory.name + _RUNNING)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        # Whoever had it may have removed it since it was opened here.
        if not _is_at(path, file.fileno()):
            yield False
            return
        try:
            yield True
        finally:
            path.unlink()


def _is_at(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
