"""Static checks of the sources: style, types, and headers that stand alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.host.cbuild import ROOT, board_config, log_format_header

MONITOR = ROOT / "hypervisor"
APPLIANCE = ROOT / "guest_support" / "appliance"
RESCUE = ROOT / "rescue"
GUEST_SUPPORT = ROOT / "guest_support"
NATIVE = ROOT / "tools" / "native"
PYTHON = ("tools", "tests", "logs_format", "SConstruct")

# What these versions make of .clang-format agrees on the monitor's sources.
CLANG_FORMAT_MAJORS = range(14, 20)

CPPCHECK_SUPPRESSIONS = (
    "duplicateAssignExpression",  # two variables may well start out equal
    "missingIncludeSystem",  # the compiler's own headers, stdint.h and the like
)


def run(*command: object) -> None:
    """Runs a checker, whose output is the message when it finds something."""
    words = [str(word) for word in command]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(words[:4])} ...\n{result.stdout}{result.stderr}"


def sources(suffixes: str) -> list[Path]:
    found = sorted(path for path in MONITOR.rglob("*") if path.suffix in suffixes.split())
    assert found
    return found


def tool(*names: str) -> str:
    """The first of the programs that there is."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no {names[0]} on this system")
    return found


def clang_format() -> str:
    """A clang-format of a version whose style is the sources'."""
    seen = []
    for name in ("clang-format", *(f"clang-format-{major}" for major in CLANG_FORMAT_MAJORS)):
        program = shutil.which(name)
        if program is None:
            continue
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        match = re.search(r"version (\d+)\.", done.stdout)
        if match and int(match[1]) in CLANG_FORMAT_MAJORS:
            return program
        seen.append(f"{program}: {done.stdout.strip() or 'does not run'}")
    first, last = CLANG_FORMAT_MAJORS[0], CLANG_FORMAT_MAJORS[-1]
    pytest.skip(f"no clang-format of version {first} to {last} ({'; '.join(seen) or 'none'})")


def test_python_is_lint_free() -> None:
    run(sys.executable, "-m", "ruff", "check", *PYTHON)


def test_python_is_formatted() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", *PYTHON)


def test_python_types() -> None:
    run(sys.executable, "-m", "mypy", "--strict", "tools/lvmm", "tools/extract_log.py")


def test_monitor_is_formatted() -> None:
    others = [*GUEST_SUPPORT.rglob("*.[ch]"), *NATIVE.glob("*.[ch]")]
    run(clang_format(), "--dry-run", "-Werror", *sources(".c .h"), *others)


def test_appliance_is_formatted() -> None:
    run(clang_format(), "--dry-run", "-Werror", *sorted(APPLIANCE.glob("*.[ch]")))


def test_rescue_program_is_formatted() -> None:
    run(clang_format(), "--dry-run", "-Werror", *sorted(RESCUE.glob("*.[ch]")))


def test_monitor_with_cppcheck(tmp_path: Path) -> None:
    # Matters of style are the compiler's warnings' and clang-format's.
    run(
        tool("cppcheck"),
        *("--quiet", "--error-exitcode=1", "--std=c11", "--platform=unix64"),
        *("--enable=warning,performance,portability", "--inline-suppr"),
        *(f"--suppress={name}" for name in CPPCHECK_SUPPRESSIONS),
        *("-I", MONITOR, "-I", log_format_header(), "-I", board_config(tmp_path)),
        MONITOR,
        NATIVE,
    )


def test_native_decoder_has_no_warnings() -> None:
    run(
        *("gcc", "-std=gnu11", "-O3", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"),
        *("-Wmissing-prototypes", "-I", MONITOR, "-I", log_format_header()),
        *sorted(NATIVE.glob("*.c")),
    )


@pytest.mark.parametrize("header", sources(".h"), ids=lambda path: str(path.relative_to(MONITOR)))
def test_header_compiles_alone(header: Path, tmp_path: Path) -> None:
    unit = tmp_path / "unit.c"
    # Twice: its guard must hold as well.
    unit.write_text(f'#include "{header}"\n#include "{header}"\n')
    run(
        *("gcc", "-std=c11", "-fsyntax-only", "-ffreestanding", "-Wall", "-Wextra", "-Werror"),
        *("-I", MONITOR, "-I", log_format_header(), "-I", board_config(tmp_path)),
        unit,
    )
