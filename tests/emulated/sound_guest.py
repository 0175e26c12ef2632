"""Debian's kernel with its own driver of a sound card that lvmm has no DMA profile of."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from tests.emulated.machine import BOARD as PLAIN
from tests.emulated.stock_guest import stock_guest
from tests.guest_modules import build_modules, module_sources

from lvmm import provision
from lvmm.board import Device
from lvmm.guest import Guest
from lvmm.guest_build import OUTPUT, build_lock, outdated

CARD_ADDRESS = "00:04.0"
BOARD = dataclasses.replace(
    PLAIN, device=(*PLAIN.device, Device("sound0", CARD_ADDRESS, "es1370", ""))
)

APPLETS = ("sh", "cat", "echo", "insmod", "mount", "od", "poweroff", "usleep")


def _hint_module() -> Path:
    """guest_support/linux/lvmm_dma.c for the kernel, compiled when needed."""
    release = provision.kernel_package().release
    module = OUTPUT / "sound" / f"lvmm_dma-{release}.ko"
    with build_lock():
        if outdated(module, module_sources()):
            module.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=OUTPUT) as folder:
                made, built_for = build_modules(Path(folder))
                assert built_for == release, "the headers are of another kernel than the guest's"
                stripped = ["strip", "--strip-debug", "-o", str(module)]
                subprocess.run([*stripped, str(made / "lvmm_dma.ko")], check=True)
    return module


def sound_guest(*, hints: bool) -> Guest:
    """The stock kernel; with `hints` the module that tells of the card's DMA, and the card at work.

    Without, its driver alone: the emulated card, unlike a real one, would do DMA all the same.
    """
    return stock_guest(
        "sound",
        BOARD,
        applets=APPLETS,
        modules=["snd_ens1370"],
        words=f"sound.hints={'yes' if hints else 'no'}",
        files={"lib/modules/lvmm_dma.ko": _hint_module()},
    )
