"""Builds the monitor with SCons when its sources have changed."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from lvmm import provision
from lvmm.apt import ensure_packages
from lvmm.errors import EnvironmentProblem
from lvmm.guest_build import ROOT, build_lock


@cache
def monitor_elf(board: str) -> Path:
    """The monitor for the board, up to date. Raises EnvironmentProblem when it does not build."""
    output = ROOT / "build" / board / "lvmm.elf"
    command = [sys.executable, "-m", "SCons", "-Q", "-s", f"board={board}"]
    ensure_packages(provision.BUILD_PACKAGES)
    with build_lock():
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode != 0 or not output.exists():
        lines = (result.stderr + result.stdout).strip().splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
        raise EnvironmentProblem(f"building the monitor failed: {errors[0]}")
    return output
