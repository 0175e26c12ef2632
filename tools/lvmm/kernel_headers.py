"""What Debian's kernel modules are compiled against: its headers, in the cache."""

from __future__ import annotations

from pathlib import Path

from lvmm import apt
from lvmm.cache import cache_dir, errors_as_environment, locked
from lvmm.errors import EnvironmentProblem
from lvmm.messages import say
from lvmm.packages import dependency, unpack_packages

METAPACKAGE = "linux-headers-amd64"


def kernel_headers() -> Path:
    """The directory to build modules in (make -C). Instant when it is in the cache.

    Raises EnvironmentProblem where it cannot be had, as on other distributions.
    """
    names = _package_names()
    directory = cache_dir() / names[0]
    build = directory / "usr" / "src" / names[0]
    with errors_as_environment(), locked("kernel-headers"):
        if not directory.exists():
            say(f"getting the kernel's headers: {' '.join(names)}")
            unpack_packages(names, directory)
        # The package's own names the directory in which it would be installed.
        common = directory / "usr" / "src" / names[1] / "Makefile"
        (build / "Makefile").write_text(f"include {common}\n", encoding="utf-8")
    return build


def _package_names() -> tuple[str, str, str]:
    """The headers of this kernel, those of all its flavours, and its build tools."""
    for attempt in range(2):
        headers = dependency(METAPACKAGE, r"linux-headers-\d\S*")
        if headers:
            common = dependency(headers, r"linux-headers-\d\S*-common")
            tools = dependency(headers, r"linux-kbuild-\S*")
            if common and tools:
                return headers, common, tools
        if attempt == 0:
            apt.update()
    raise EnvironmentProblem(f"apt knows no package {METAPACKAGE}, or not what it needs")
