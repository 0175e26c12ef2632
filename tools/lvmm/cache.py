"""Where lvmm keeps what it can make or fetch again."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lvmm.errors import EnvironmentProblem
from lvmm.messages import say


def cache_dir() -> Path:
    """The cache directory, created when missing."""
    if "LVMM_CACHE" in os.environ:
        path = Path(os.environ["LVMM_CACHE"])
    elif "XDG_CACHE_HOME" in os.environ:
        path = Path(os.environ["XDG_CACHE_HOME"]) / "lvmm"
    else:
        path = Path.home() / ".cache" / "lvmm"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(f"cannot create the cache directory: {error}") from None
    return path.resolve()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock `name`: two set-ups at once wait for each other."""
    with (cache_dir() / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run's set-up ({name})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def errors_as_environment() -> Iterator[None]:
    """Around a set-up: errors of the file system become EnvironmentProblem."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise EnvironmentProblem(f"disk full: {cache_dir()}") from None
        raise EnvironmentProblem(f"set-up failed: {error}") from None
