"""Build C test programs for the host, under sanitizers, in build/host/."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "host"
FLAGS = (
    *("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)

# Every name that SConstruct gives a board; the values do not matter to a header.
BOARD_CONFIG = """\
#define LVMM_VERSION "0"
#define BOARD_NAME "test"
#define MONITOR_BASE 0x40000000ULL
#define MONITOR_SIZE 0x2000000ULL
#define LOG_BASE 0x42000000ULL
#define LOG_SIZE 0x10000000ULL
#define GUEST_MAX_MIB 1024
#define GUEST_DEFAULT_MIB 256
#define CONSOLE_SERIAL 0x3f8
#define MONITOR_SERIAL 0x2f8
"""


@functools.cache
def log_format_header() -> Path:
    """Generate log_format.h and link_layout.h; returns the folder to include them from."""
    folder = OUTPUT / "include"
    folder.mkdir(parents=True, exist_ok=True)
    generator = ROOT / "logs_format" / "generate.py"
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        log, link = Path(temporary) / "log_format.h", Path(temporary) / "link_layout.h"
        command = [sys.executable, str(generator), "--c", str(log), "--link-c", str(link)]
        subprocess.run(command, check=True)
        for header in (log, link):
            target = folder / header.name
            if not target.exists() or target.read_bytes() != header.read_bytes():
                header.replace(target)
    return folder


def board_config(folder: Path) -> Path:
    """Writes the header with the board's constants; returns the folder to include it from."""
    (folder / "board_config.h").write_text(BOARD_CONFIG)
    return folder


@functools.cache
def build(name: str, sources: tuple[str, ...], flags: tuple[str, ...] = ()) -> Path:
    """Compile `sources` (relative to the project's root) into build/host/`name`.

    Does nothing when the program is newer than all C files it may depend on. Raises
    subprocess.CalledProcessError, with the compiler's messages on stderr.
    """
    include = log_format_header()
    program = OUTPUT / name
    paths = [ROOT / source for source in sources]
    headers = [*(ROOT / "hypervisor").rglob("*.h"), *include.glob("*.h"), Path(__file__)]
    newest = max(path.stat().st_mtime for path in [*paths, *headers])
    if program.exists() and program.stat().st_mtime > newest:
        return program
    with tempfile.TemporaryDirectory(dir=OUTPUT) as temporary:
        built = Path(temporary) / name
        command = ["gcc", *FLAGS, *flags, "-I", str(ROOT / "hypervisor"), "-I", str(include)]
        subprocess.run([*command, *map(str, paths), "-o", str(built)], check=True, timeout=120)
        built.replace(program)
    return program
