"""The monitor's CRC-32C and string functions, and the tools' CRC, against independent ones."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import crcmod.predefined  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host import cbuild

from lvmm.logs.crc import crc32c

pytestmark = pytest.mark.host

CRC32C = crcmod.predefined.mkCrcFun("crc-32c")


@functools.cache
def driver() -> Path:
    """The driver; string.c is compiled under other names beside libc's functions."""
    folder = cbuild.OUTPUT / "lib_driver.d"
    folder.mkdir(parents=True, exist_ok=True)
    compiled = folder / "string.o"
    names = ("memcpy", "memmove", "memset", "memcmp", "strlen", "strncmp")
    command = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding"]
    command += [f"-D{name}=lvmm_{name}" for name in names]
    command += ["-I", str(cbuild.ROOT / "hypervisor"), "-c", "-o"]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        built = Path(temporary) / "string.o"
        source = cbuild.ROOT / "hypervisor" / "lib" / "string.c"
        subprocess.run([*command, str(built), str(source)], check=True)
        if not compiled.exists() or built.read_bytes() != compiled.read_bytes():
            built.replace(compiled)
    sources = ("tests/host/c/lib_driver.c", "hypervisor/lib/crc32c.c")
    return cbuild.build("lib_driver", (*sources, str(compiled.relative_to(cbuild.ROOT))))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=100), st.integers(0, 100)), min_size=1, max_size=50))
def test_crc_is_crcmods(blocks: list[tuple[bytes, int]]) -> None:
    framed = b"".join(
        len(data).to_bytes(4, "little") + min(split, len(data)).to_bytes(4, "little") + data
        for data, split in blocks
    )
    command = [str(driver()), "crc"]
    result = subprocess.run(command, input=framed, capture_output=True, check=True, timeout=60)
    expected = [CRC32C(data) for data, _ in blocks]
    assert [int(line, 16) for line in result.stdout.split()] == expected
    assert [crc32c(data[split:], crc32c(data[:split])) for data, split in blocks] == expected


def test_string_functions_are_libcs() -> None:
    subprocess.run([str(driver()), "string"], check=True, timeout=60)


def test_string_functions_do_not_call_themselves(tmp_path: Path) -> None:
    """The compiler must not replace a function's loop by a call of that function."""
    output = tmp_path / "string.o"
    command = ["gcc", "-std=c11", "-O3", "-ffreestanding", "-mgeneral-regs-only"]
    command += ["-I", str(cbuild.ROOT / "hypervisor"), "-c", "-o", str(output)]
    subprocess.run([*command, str(cbuild.ROOT / "hypervisor/lib/string.c")], check=True)
    listing = subprocess.run(
        ["objdump", "-dr", str(output)], check=True, capture_output=True, text=True
    ).stdout
    calls = [line for line in listing.splitlines() if "R_X86_64_PLT32" in line]
    assert all("memcpy" in line for line in calls)  # by memmove


@pytest.mark.parametrize("hidden", [(), ("google_crc32c",), ("google_crc32c", "crcmod")])
def test_either_crc_library_will_do(hidden: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        f"for name in {hidden!r}: sys.modules[name] = None\n"
        "from lvmm.errors import EnvironmentProblem\n"
        "from lvmm.logs.crc import crc32c\n"
        "try: print(crc32c(b'6789', crc32c(b'12345')))\n"
        "except EnvironmentProblem as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=cbuild.ROOT / "tools",
    )
    expected = "no CRC-32C library" if len(hidden) == 2 else str(0xE3069283)
    assert result.stdout.startswith(expected)
