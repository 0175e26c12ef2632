"""The header for guests: compiles everywhere it promises to, and is safe without the monitor."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.guest_modules import build_modules
from tests.host.cbuild import ROOT

from lvmm.apt import os_release

pytestmark = pytest.mark.host

SUPPORT = ROOT / "guest_support"
USER = """\
#include "lvmm.h"
#include "lvmm.h"
int main(void) {
    unsigned long card = LVMM_DEVICE(0, 4, 0);
    unsigned long ring = lvmm_dma_map(card, 0x1000, 4096, LVMM_DMA_SHARED);

    lvmm_panic("nobody listens");
    return (int)(lvmm_present() + lvmm_mark("nor here") + lvmm_dma_attach(card) +
                 lvmm_dma_failed(ring) + (ring != 0x1000) +
                 lvmm_dma_sync_for_device(card, ring, 64) + lvmm_dma_sync_for_cpu(card, ring, 64) +
                 lvmm_dma_unmap(card, ring) + lvmm_dma_detach(card));
}
"""
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


def compiler(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this system")
    return found


@pytest.mark.parametrize("width", ["-m32", "-m64"])
@pytest.mark.parametrize("extra", ["-O0", "-O2", "-fPIC"])
@pytest.mark.parametrize("language", ["gcc -std=c99", "g++ -std=c++11", "clang-14 -std=c99"])
def test_header_compiles(tmp_path: Path, language: str, extra: str, width: str) -> None:
    program, standard = language.split()
    source = tmp_path / ("user.cc" if "++" in program else "user.c")
    source.write_text(USER)
    output = tmp_path / "user.o"
    command = [compiler(program), standard, extra, width, "-ffreestanding", *WARNINGS]
    subprocess.run([*command, "-I", SUPPORT, "-c", source, "-o", output], check=True)
    code = subprocess.run(
        ["objdump", "-d", output], capture_output=True, text=True, check=True
    ).stdout
    assert "vmcall" in code


def test_without_the_monitor_nothing_happens(tmp_path: Path) -> None:
    """A VMCALL would end the program by SIGILL."""
    source = tmp_path / "user.c"
    source.write_text(USER)
    program = tmp_path / "user"
    subprocess.run([compiler("gcc"), "-I", SUPPORT, source, "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0


def test_signature_is_the_documented_one() -> None:
    text = (SUPPORT / "lvmm_abi.h").read_text()
    (word,) = [line.split()[2] for line in text.splitlines() if "LVMM_CPUID_NAME" in line]
    assert int(word, 16).to_bytes(4, "little") * 3 == b"lvmmlvmmlvmm"


@pytest.mark.skipif(os_release().get("ID") != "debian", reason="the headers are Debian's")
def test_linux_modules_compile(tmp_path: Path) -> None:
    """Against the headers of Debian's kernel: what they use there is exported."""
    folder, release = build_modules(tmp_path)
    for name, symbol in (("lvmm_guest", "panic_notifier_list"), ("lvmm_dma", "pci_bus_type")):
        module = folder / f"{name}.ko"
        assert b"vermagic=" + release.encode() + b" " in module.read_bytes()
        code = subprocess.run(
            ["objdump", "-dr", module], capture_output=True, text=True, check=True
        ).stdout
        assert "vmcall" in code
        assert symbol in code
