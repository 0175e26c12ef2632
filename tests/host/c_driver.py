"""Builds C test drivers for the host, under sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FLAGS = (
    *("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)


def build_driver(sources: Sequence[str], output: Path) -> Path:
    """Compile `sources` (relative to the project's root) into the program `output`.

    Raises subprocess.CalledProcessError, with the compiler's messages on stderr.
    """
    paths = [str(ROOT / source) for source in sources]
    command = ["gcc", *FLAGS, "-I", str(ROOT / "hypervisor"), *paths, "-o", str(output)]
    subprocess.run(command, check=True, timeout=120)
    return output
