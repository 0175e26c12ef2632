"""Debian's kernel with its own driver of a sound card that lvmm has no DMA profile of."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from tests.emulated.machine import BOARD as PLAIN
from tests.guest_modules import build_modules, module_sources

from lvmm import initramfs, provision
from lvmm.board import Device
from lvmm.guest import Guest
from lvmm.guest_build import (
    BUSYBOX,
    LINUX_CMDLINE,
    OUTPUT,
    SOURCES,
    build_lock,
    compile_program,
    need_busybox,
    outdated,
)

CARD_ADDRESS = "00:04.0"
BOARD = dataclasses.replace(
    PLAIN, device=(*PLAIN.device, Device("sound0", CARD_ADDRESS, "es1370", ""))
)

APPLETS = ("sh", "cat", "echo", "insmod", "mount", "od", "poweroff", "usleep")
_FLAGS = ("-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-s")


def _hint_module(release: str) -> Path:
    """guest_support/linux/lvmm_dma.c for the kernel, compiled when needed."""
    module = OUTPUT / "sound" / f"lvmm_dma-{release}.ko"
    if outdated(module, module_sources()):
        module.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=OUTPUT) as folder:
            made, built_for = build_modules(Path(folder))
            assert built_for == release, "the headers are of another kernel than the guest's"
            stripped = ["strip", "--strip-debug", "-o", str(module)]
            subprocess.run([*stripped, str(made / "lvmm_dma.ko")], check=True)
    return module


def _initrd(kernel: provision.Kernel) -> Path:
    folder = SOURCES / "sound"
    program = OUTPUT / "sound" / "sound"
    output = OUTPUT / "sound" / f"initrd-{kernel.release}"
    need_busybox()
    with build_lock():
        module = _hint_module(kernel.release)
        units = [folder / "sound.c", SOURCES / "linux" / "sha256.c"]
        if outdated(program, [*units, SOURCES / "linux" / "sha256.h"]):
            compile_program([*_FLAGS, *map(str, units)], folder, program)
        if outdated(output, [program, module, folder / "init", Path(__file__)]):
            members = [
                *initramfs.base_system(BUSYBOX, APPLETS, kernel.modules, ["snd_ens1370"]),
                initramfs.regular("lib/modules/lvmm_dma.ko", module.read_bytes()),
                initramfs.executable("bin/sound", program.read_bytes()),
                initramfs.executable("init", (folder / "init").read_bytes()),
            ]
            fresh = output.with_suffix(".new")
            fresh.write_bytes(initramfs.archive(members))
            fresh.replace(output)
    return output


def sound_guest(*, hints: bool) -> Guest:
    """The stock kernel; with `hints` the module that tells of the card's DMA, and the card at work.

    Without, its driver alone: the emulated card, unlike a real one, would do DMA all the same.
    """
    kernel = provision.kernel_package()
    return Guest(
        kind="linux",
        kernel=kernel.vmlinuz,
        cmdline=f"{LINUX_CMDLINE} sound.hints={'yes' if hints else 'no'}",
        memory_mib=BOARD.memory.guest_default_mib,
        extra=(_initrd(kernel),),
    )
