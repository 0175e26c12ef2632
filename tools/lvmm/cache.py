"""Where lvmm keeps what it can make or fetch again."""

from __future__ import annotations

import os
from pathlib import Path

from lvmm.errors import EnvironmentProblem


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
