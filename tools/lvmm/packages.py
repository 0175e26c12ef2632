"""Packages of the distribution, downloaded and unpacked, not installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lvmm import apt
from lvmm.cache import cache_dir
from lvmm.errors import EnvironmentProblem


def dependency(package: str, pattern: str) -> str | None:
    """The first package that this one depends on and whose name matches; None without one."""
    done = subprocess.run(
        ["apt-cache", "depends", "--important", package],
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(rf"Depends: ({pattern})", done.stdout)
    return match[1] if match else None


def unpack_packages(names: Sequence[str], directory: Path) -> None:
    """Makes the directory, which is below the cache's, of the packages' files.

    Raises EnvironmentProblem, and OSError.
    """
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="packages-") as work:
        tree = Path(work) / "tree"
        download = ["apt-get", "-q", "-oAPT::Sandbox::User=root", "download", *names]
        error = apt.run_quietly(download, cwd=Path(work))
        if error:
            raise EnvironmentProblem(f"cannot download {' '.join(names)}: {error}")
        for package in sorted(Path(work).glob("*.deb")):
            error = apt.run_quietly(["dpkg-deb", "-x", str(package), str(tree)])
            if error:
                raise EnvironmentProblem(f"cannot unpack {package.name}: {error}")
        shutil.rmtree(directory, ignore_errors=True)
        tree.rename(directory)
