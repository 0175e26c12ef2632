"""Which guest the options of a command name."""

from __future__ import annotations

import argparse

from lvmm.board import Board
from lvmm.errors import UsageError
from lvmm.guest import FIRST_DISK, Guest, check_guest


def guest_of(options: argparse.Namespace, board: Board) -> Guest:
    """The guest; raises UsageError for options that do not go together, and for a bad image."""
    memory = options.memory if options.memory is not None else board.memory.guest_default_mib
    if options.linux is not None:
        if options.module:
            raise UsageError("--module is for --multiboot; a Linux kernel takes --initrd")
        extra = (options.initrd,) if options.initrd else ()
        guest = Guest("linux", options.linux, options.append, memory, extra)
    elif options.boot_sector is not None:
        if options.initrd or options.module or options.append:
            raise UsageError("--boot-sector takes no --initrd, --module or --append")
        guest = Guest("sector", options.boot_sector, "", memory)
    elif options.disk is not None:
        guest = _disk_guest(options, memory)
    else:
        if options.initrd:
            raise UsageError("--initrd is for --linux; a multiboot guest takes --module")
        guest = Guest("multiboot", options.multiboot, options.append, memory, tuple(options.module))
    if getattr(options, "disk_write", False) and guest.kind != "disk":
        raise UsageError("--disk-write goes with --disk")
    check_guest(guest, board)
    return guest


def _disk_guest(options: argparse.Namespace, memory_mib: int) -> Guest:
    if options.initrd or options.module or options.append:
        raise UsageError("--disk takes no --initrd, --module or --append: what is booted is on it")
    if options.command == "build":
        return Guest("disk", None, "", memory_mib, drive=options.disk)
    if options.as_disk:
        raise UsageError("--as-disk: with --disk the machine's disk is the guest's")
    return Guest("disk", None, "", memory_mib, (), options.disk, FIRST_DISK, options.disk_write)
