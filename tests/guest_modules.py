"""Builds guest_support/linux against the headers of Debian's kernel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lvmm.guest_build import SUPPORT
from lvmm.kernel_headers import kernel_headers


def module_sources() -> list[Path]:
    """What the modules are made of."""
    return [*SUPPORT.glob("*.h"), *sorted((SUPPORT / "linux").iterdir())]


def build_modules(folder: Path) -> tuple[Path, str]:
    """Compiles them in `folder`: where the .ko files are, and the kernel's release."""
    for source in module_sources():
        copy = folder / source.relative_to(SUPPORT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    headers = kernel_headers()
    made = folder / "linux"
    subprocess.run(["make", "-C", headers, f"M={made}", "KCFLAGS=-Werror", "modules"], check=True)
    return made, headers.name.removeprefix("linux-headers-")
