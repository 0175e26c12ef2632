"""Arguments that several commands have: parent parsers for theirs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from lvmm.cli import values

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DEFAULT_BOARD = "bochs-vtx"
DEFAULT_TIMEOUT_S = 3600.0


def on_board() -> argparse.ArgumentParser:
    """Where."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--board", default=DEFAULT_BOARD, help="a board of boards/ (%(default)s)")
    return parser


def menu() -> argparse.ArgumentParser:
    """How an image that boots by GRUB begins."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--menu-timeout",
        type=values.menu_s,
        default=0,
        metavar="S",
        help="how long GRUB's menu waits (0)",
    )
    return parser


def guest(disk: dict[str, Any]) -> argparse.ArgumentParser:
    """Which guest; `disk` describes the argument of --disk."""
    parser = argparse.ArgumentParser(add_help=False, parents=[menu()])
    kernel = parser.add_mutually_exclusive_group(required=True)
    kernel.add_argument("--linux", type=Path, metavar="BZIMAGE", help="a Linux kernel")
    kernel.add_argument("--multiboot", type=Path, metavar="ELF", help="a multiboot kernel")
    kernel.add_argument(
        "--boot-sector", type=Path, metavar="FILE", help="512 bytes, started in real mode"
    )
    kernel.add_argument("--disk", **disk)
    parser.add_argument("--initrd", type=Path, metavar="FILE", help="of the Linux kernel")
    parser.add_argument(
        "--module", type=Path, metavar="FILE", action="append", default=[], help="of the ELF file"
    )
    parser.add_argument("--append", default="", metavar="STR", help="the guest's command line")
    parser.add_argument("--memory", type=values.positive, metavar="MIB", help="the guest's memory")
    return parser


def guest_on_disk_image() -> argparse.ArgumentParser:
    """Likewise, where --disk is the image of a disk."""
    return guest(
        {
            "type": Path,
            "metavar": "IMAGE",
            "help": "a disk image; the machine's BIOS boots what is on it",
        }
    )


def run() -> argparse.ArgumentParser:
    """How a machine is run, with a debugger or without."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--seed", type=values.seed, metavar="N", help="of the counter's skid (random)"
    )
    parser.add_argument(
        "--timeout",
        type=values.timeout_s,
        metavar="S",
        help=f"end the run then ({DEFAULT_TIMEOUT_S:.0f} s; with --gdb or --attach never)",
    )
    parser.add_argument(
        "--gdb", type=values.tcp_port, metavar="PORT", help="serve gdb on this port"
    )
    parser.add_argument(
        "--attach",
        type=values.tcp_port,
        metavar="PORT",
        help="let ./lvmm attach --serial :PORT at this machine",
    )
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        help="start the guest only when gdb says so (with --gdb, replay does, live and record not)",
    )
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")
    return parser


def machine() -> argparse.ArgumentParser:
    """The real machine that a guest has."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--net-port",
        type=values.udp_port,
        metavar="UDP_PORT",
        help="loopback port for frames to the guest's card; it sends to the next one",
    )
    parser.add_argument(
        "--watchdog",
        type=values.watchdog_s,
        default=0,
        metavar="S",
        help="end the run of a guest that makes no progress for S seconds of its time (0: never)",
    )
    parser.add_argument(
        "--as-disk", action="store_true", help="boot the image with the guest as a disk, not a CD"
    )
    parser.add_argument(
        "--usb-disk",
        type=Path,
        metavar="IMAGE",
        help="a disk image that the machine has on a USB port (UHCI); it stays as it is, and a"
        " replay needs none",
    )
    parser.add_argument(
        "--disk-write",
        action="store_true",
        help="keep what the guest writes to IMAGE of --disk (else the image stays as it is)",
    )
    return parser


def recorded() -> argparse.ArgumentParser:
    """What is recorded of a run, and where the log goes."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--on-demand",
        action="store_true",
        help="record only what the guest asks for: lvmm_start_recording() of guest_support/lvmm.h",
    )
    for name, what in (("start", "begin the recording"), ("stop", "end run and recording")):
        parser.add_argument(
            f"--{name}-at",
            metavar="TRIGGER",
            help=f"{what} at 'console TEXT', 'packet HEXDIGITS' or 'break ADDRESS_OR_SYMBOL'",
        )
    parser.add_argument(
        "--sent-bytes",
        type=values.sent_bytes,
        metavar="N",
        help="of each frame that the guest sends, keep the first N bytes for extract_log.py pcap"
        " (all; replay needs none)",
    )
    parser.add_argument(
        "--unfenced",
        type=values.unfenced,
        action="append",
        default=[],
        metavar="BDF|all",
        help="let this device (00:04.0), or all, become bus master although it has no DMA profile:"
        " the recording is marked as unsound, and may not replay; may be given several times",
    )
    parser.add_argument(
        "--early-reads",
        action="store_true",
        help="tell where the guest reads a buffer that a device owns and may be writing to; costs"
        " time (docs/early-reads.md)",
    )
    parser.add_argument(
        "--sink",
        choices=("memory", "serial", "serial-stop"),
        default="memory",
        help="where the log goes: it stays in the machine's memory until the run is over, or comes"
        " over the monitor's line meanwhile, and where that is too slow the guest waits, or"
        " (serial-stop) the recording ends (%(default)s)",
    )
    parser.add_argument(
        "--log-size", type=values.log_kib, metavar="KIB", help="of the log region (the board's)"
    )
    parser.add_argument(
        "--ring",
        type=values.ring_kib,
        metavar="SIZE",
        help="keep the newest part of the log only, in a ring of this size, as 256M"
        " (docs/flight-recorder.md)",
    )
    parser.add_argument(
        "--epoch-ms",
        type=values.epoch_ms,
        metavar="N",
        help="with --ring: begin an epoch each N ms of the guest's time (each eighth of the ring)",
    )
    parser.add_argument(
        "--epoch-events",
        type=values.epoch_events,
        metavar="N",
        help="with --ring: begin an epoch each N events",
    )
    return parser
