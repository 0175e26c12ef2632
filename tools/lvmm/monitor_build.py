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

_PROFILES = "profile_compiler: "  # how the check of the DMA profiles begins its message


@cache
def monitor_elf(board: str) -> Path:
    """The monitor for the board, up to date. Raises EnvironmentProblem when it does not build."""
    output = ROOT / "build" / board / "lvmm.elf"
    command = [sys.executable, "-m", "SCons", "-Q", "-s", f"board={board}"]
    ensure_packages(provision.BUILD_PACKAGES)
    with build_lock():
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode != 0 or not output.exists():
        problem = first_problem(result.stderr + result.stdout)
        raise EnvironmentProblem(f"building the monitor failed: {problem}")
    return output


def first_problem(said: str) -> str:
    """Of what the build has said, the line that names file, line and fault.

    SCons's own only names what could not be built.
    """
    lines = said.strip().splitlines()
    of_tools = [line for line in lines if not line.startswith("scons: ")] or lines
    errors = [line for line in of_tools if "error" in line.lower() or line.startswith(_PROFILES)]
    return (errors or of_tools or ["no message"])[0]
