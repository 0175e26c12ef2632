"""What the options of a command say of a run."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
from pathlib import Path

from lvmm.cli.arguments import DEFAULT_TIMEOUT_S
from lvmm.cli.ring_options import ring_settings
from lvmm.debug.guest_symbols import GuestSymbols
from lvmm.debug.of_a_run import AttachPort
from lvmm.debug.service import GdbOptions
from lvmm.errors import UsageError
from lvmm.gdb.registers import I386, X86_64
from lvmm.guest import Kind
from lvmm.guest_build import ROOT
from lvmm.guest_disk import check_usb_disk
from lvmm.messages import say
from lvmm.session import RunSettings, Sink
from lvmm.triggers import Triggers, parse_trigger


def run_settings(
    options: argparse.Namespace, *, quiet: bool, kind: Kind, kernel: Path | None, wait: bool = False
) -> RunSettings:
    """What they say; `wait` is what --gdb means without --wait and --no-wait."""
    gdb = attach_port = None
    if options.attach is not None:
        attach_port = AttachPort(options.attach, bool(options.wait), say)
    if options.gdb is not None:
        early = I386 if kind == "multiboot" else X86_64
        wait = wait if options.wait is None else options.wait
        symbols = None
        if kind == "linux" and kernel is not None:
            symbols = symbols_of(kernel)
        gdb = GdbOptions(options.gdb, wait, say, early, symbols)
    elif options.wait is not None and attach_port is None:
        raise UsageError("--wait and --no-wait go with --gdb PORT or --attach PORT")
    timeout = options.timeout
    if timeout is None:
        timeout = math.inf if gdb or attach_port else DEFAULT_TIMEOUT_S
    return dataclasses.replace(
        recording_settings(options),
        net_port=getattr(options, "net_port", None),
        seed=options.seed,
        timeout_s=timeout,
        gdb=gdb,
        attach=attach_port,
        as_disk=getattr(options, "as_disk", False),
        console=None if quiet else _show_console,
        menu_timeout_s=getattr(options, "menu_timeout", 0),
        watchdog_s=getattr(options, "watchdog", 0),
        from_end=getattr(options, "from_end", False),
        usb_disk=_usb_disk(options),
        checkpoints=getattr(options, "checkpoints", None) or 0,
    )


def recording_settings(options: argparse.Namespace) -> RunSettings:
    """What they say of the recording alone; `options` may be of a command that makes none."""
    return RunSettings(
        on_demand=getattr(options, "on_demand", False),
        triggers=_triggers(options),
        sent_bytes=getattr(options, "sent_bytes", None),
        log_kib=getattr(options, "log_size", None),
        unfenced=tuple(getattr(options, "unfenced", ())),
        early_reads=getattr(options, "early_reads", False),
        ring=ring_settings(options),
        sink=Sink(getattr(options, "sink", "memory")),
    )


def symbols_of(kernel: Path) -> GuestSymbols:
    """Of a Linux kernel, for gdb's `monitor symbols`."""
    return GuestSymbols(kernel, ROOT / "build" / "gdb" / f"symbols-{os.getpid()}.elf")


def _show_console(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _usb_disk(options: argparse.Namespace) -> Path | None:
    image: Path | None = getattr(options, "usb_disk", None)
    if image is not None:
        check_usb_disk(image)
    return image


def _triggers(options: argparse.Namespace) -> Triggers:
    texts = (getattr(options, f"{name}_at", None) for name in ("start", "stop"))
    triggers = Triggers(*(parse_trigger(text) if text is not None else None for text in texts))
    debugged = (getattr(options, name, None) is not None for name in ("gdb", "attach"))
    if triggers.need_line and any(debugged):
        raise UsageError("--start-at and --stop-at 'break' go without --gdb and --attach")
    return triggers
