"""Workloads that are over in a moment: tiny guests, a boot sector, a small disk, the appliance."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from lvmm import guest_build
from lvmm.board import Board, Device
from lvmm.echo_peer import WINDOW, EchoPeer
from lvmm.frame_source import frames_to
from lvmm.guest import Guest
from lvmm.netpeer import free_port
from lvmm.soak.prepared import Prepared, served

# Tiny guests that end by themselves.
TINY = (
    *("a20", "apic", "firmware", "flood", "fpu", "hello", "hypercalls", "idle", "inputs"),
    *("legacy", "master", "nmi", "pae", "paging", "rep", "selfmod", "shadow", "stale", "timer"),
    "watched",
)
_MEMORY_MIB = (8, 16, 64)
_SOUND = Device("sound0", "00:04.0", "es1370", "")
_USB_BYTES = 1 << 20


def _multiboot(name: str, chance: random.Random) -> Guest:
    return Guest("multiboot", guest_build.tiny_guest(name), "", chance.choice(_MEMORY_MIB))


def _said(guest: Guest, what: str) -> str:
    return f"{what} {guest.memory_mib} MiB"


def tiny(_board: Board, chance: random.Random) -> Prepared:
    """One of TINY."""
    name = chance.choice(TINY)
    guest = _multiboot(name, chance)
    return Prepared(guest, _said(guest, name))


def sector(_board: Board, _chance: random.Random) -> Prepared:
    """The boot sector `real_mode`."""
    guest = Guest("sector", guest_build.boot_sector("real_mode"), "", 16)
    return Prepared(guest, _said(guest, "real_mode"))


def own_disk(_board: Board, chance: random.Random) -> Prepared:
    """The disk `own_disk`, which the BIOS boots in guest mode."""
    guest = Guest("disk", None, "", chance.choice((16, 64)))
    content = guest_build.boot_disk_content("own_disk")
    return Prepared(guest, _said(guest, "own_disk"), disk=content)


def usb(_board: Board, chance: random.Random) -> Prepared:
    """Reads of a disk on UHCI."""
    guest = _multiboot("usb", chance)
    content = random.Random(chance.random()).randbytes(_USB_BYTES)
    return Prepared(guest, _said(guest, "usb"), dma=True, usb_disk=content)


def hints(_board: Board, chance: random.Random) -> Prepared:
    """A sound card without a DMA profile, which hears noise."""
    guest = _multiboot("hinted", chance)
    return Prepared(guest, _said(guest, "hinted"), devices=(_SOUND,))


def polled(_board: Board, chance: random.Random) -> Prepared:
    """Frames to a guest that looks for them in memory."""
    guest, port, seed = _multiboot("polling", chance), free_port(), chance.randrange(1 << 30)
    pause_s = chance.choice((0.01, 0.002))

    @contextmanager
    def peer() -> Iterator[None]:
        with frames_to(port, seed, pause_s):
            yield

    return Prepared(guest, _said(guest, "polling"), net_port=port, peer=peer)


def appliance(_board: Board, chance: random.Random) -> Prepared:
    """Echo requests one by one, or as many as it has descriptors for."""
    requests, seed, port = chance.randrange(50, 300), chance.randrange(1 << 30), free_port()
    window = chance.choice((1, WINDOW))
    guest = Guest("multiboot", guest_build.appliance(), "", chance.choice(_MEMORY_MIB))

    @contextmanager
    def peer() -> Iterator[None]:
        end = EchoPeer(port, requests, seed, window)
        end.start()
        try:
            yield
        finally:
            result = end.stop()
        served(result.complete, f"{result.answered} of {result.requested}, {result.errors}")

    said = _said(guest, f"{requests} requests, {window} at once,")
    return Prepared(guest, said, dma=True, net_port=port, peer=peer)
