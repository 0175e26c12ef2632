"""The monitor's own code for reading logs: a library of a few kilobytes, built at the first use.

It is there where there is a C compiler and lvmm's source tree, or where installing lvmm has built
it. Everything works without, slowly. LVMM_NATIVE=0 in the environment turns it off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lvmm.errors import EnvironmentProblem, LvmmError

LIBRARY = "log_native.so"

_TOOLS = Path(__file__).resolve().parents[2]
_ROOT = _TOOLS.parent
_SOURCES = (
    "tools/native/log_statistics.c",
    "tools/native/log_chunks.c",
    "hypervisor/replay/log_codec.c",
    "hypervisor/replay/log_position.c",
    "hypervisor/replay/log_predict.c",
    "hypervisor/replay/log_token.c",
    "hypervisor/replay/log_remains.c",
    "hypervisor/lib/crc32c.c",
)
_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fvisibility=default")
_GENERATOR = "logs_format/generate.py"
_TIMEOUT_S = 120


def build(output: Path) -> None:
    """Compile the library from the source tree. Raises EnvironmentProblem."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise EnvironmentProblem("there is no C compiler")
    if not (_ROOT / _SOURCES[0]).is_file():
        raise EnvironmentProblem("lvmm's source tree is not there")
    try:
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            header, library = Path(folder) / "log_format.h", Path(folder) / LIBRARY
            includes = [f"-I{_ROOT / 'hypervisor'}", f"-I{_ROOT / 'tools/native'}", f"-I{folder}"]
            sources = [str(_ROOT / source) for source in _SOURCES]
            for command in (
                [sys.executable, str(_ROOT / _GENERATOR), "--c", str(header)],
                [compiler, *_FLAGS, *includes, *sources, "-o", str(library)],
            ):
                subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
            library.replace(output)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentProblem(f"cannot build it: {error}") from None


@functools.cache
def library() -> ctypes.CDLL | None:
    """The library, built if necessary; None where it cannot be had."""
    if os.environ.get("LVMM_NATIVE") == "0":
        return None
    try:
        installed = Path(__file__).with_name(LIBRARY)
        return ctypes.CDLL(str(installed if installed.exists() else _cached()))
    except (OSError, LvmmError):
        return None


def _cached() -> Path:
    """The library of just these sources in the cache directory. Raises LvmmError, OSError."""
    from lvmm.cache import cache_dir

    digest = hashlib.sha256(repr(_FLAGS).encode())
    parts = [*_SOURCES, "tools/native/log_statistics.h", "tools/native/log_chunks.h"]
    parts += ["logs_format/events.toml"]
    parts += ["logs_format/emit_c.py", "logs_format/description.py", "hypervisor/lib/types.h"]
    names = ("codec", "fields", "position", "predict", "state", "transfer", "wire")
    parts += [f"hypervisor/replay/log_{name}.h" for name in names]
    for part in parts:
        digest.update((_ROOT / part).read_bytes())
    path = cache_dir() / f"native-{digest.hexdigest()[:16]}.so"
    if not path.exists():
        build(path)
    return path
