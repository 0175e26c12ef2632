"""Which lvmm this is: as Git names the sources, where they are a clone."""

from __future__ import annotations

import subprocess

from lvmm.guest_build import ROOT


def revision() -> str:
    """The commit, with `-dirty` where files differ from it; empty where that cannot be said."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
