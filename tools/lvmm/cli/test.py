"""`lvmm test`: runs the tests."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from lvmm import provision
from lvmm.apt import ensure_packages
from lvmm.cli import arguments
from lvmm.guest_build import ROOT

TEST_WORKERS_MAX = 4


def add(name: str, commands: arguments.Commands) -> None:
    """Adds its arguments."""
    parser = commands.add_parser(name, help="run the tests; other arguments go to pytest")
    parser.add_argument("--host", action="store_true", help="only those without a machine")


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
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
