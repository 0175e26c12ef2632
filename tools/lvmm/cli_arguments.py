"""The arguments of the command line."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from lvmm import __version__
from lvmm.fence import parse_exception
from lvmm.guest import FIRST_DISK

DEFAULT_BOARD = "bochs-vtx"
DEFAULT_TIMEOUT_S = 3600.0
LOG_MIN_KIB = 256  # as in hypervisor/boot/main.c
RING_MIN_KIB = 1024  # as in hypervisor/boot/ring.c
EPOCH_MS_MAX = 3_600_000
ANY_RECORDING = "any"  # of build --overwrite, and of the monitor's word

EXIT_CODES = """\
exit codes:
  0  done; of replay: everything matched
  1  environment: a missing tool, no permission, a full disk, a port in use
  2  bad input: an unknown board, a file that is no kernel, too little memory
  3  of replay: the replay left the recording, or ended differently
  4  the recording is incomplete or damaged
  5  the recording was made by another version
  6  the emulator or the monitor failed
  7  a deadline passed
  130  interrupted
"""


def _positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("a positive number is needed")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 1024 <= value <= 65534:
        raise argparse.ArgumentTypeError("a UDP port from 1024 to 65534 is needed")
    return value


def _tcp_port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError("a TCP port from 1 to 65535 is needed")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 32:
        raise argparse.ArgumentTypeError("a number from 0 to 4294967295 is needed")
    return value


def _event(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("the index of an event is needed")
    return value


def _log_kib(text: str) -> int:
    value = int(text)
    if value < LOG_MIN_KIB:
        raise argparse.ArgumentTypeError(f"at least {LOG_MIN_KIB} KiB are needed")
    return value


def _ring_kib(text: str) -> int:
    match = re.fullmatch(r"([0-9]+)([KMG])i?B?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError("a size is needed, as 256M")
    kib = int(match[1]) << {"K": 0, "M": 10, "G": 20}[match[2].upper()]
    if kib < RING_MIN_KIB:
        raise argparse.ArgumentTypeError(f"at least {RING_MIN_KIB >> 10}M is needed")
    return kib


def _epoch_ms(text: str) -> int:
    value = int(text)
    if not 1 <= value <= EPOCH_MS_MAX:
        raise argparse.ArgumentTypeError(f"milliseconds from 1 to {EPOCH_MS_MAX} are needed")
    return value


def _epoch_events(text: str) -> int:
    value = int(text)
    if not 1 <= value < 1 << 32:
        raise argparse.ArgumentTypeError("a number of events from 1 to 4294967295 is needed")
    return value


def _watchdog(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError("whole seconds from 0 to 86400 are needed")
    return value


def _sent_bytes(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 262144:
        raise argparse.ArgumentTypeError("bytes from 0 to 262144 are needed")
    return value


def _bios_disk(text: str) -> int:
    value = int(text, 0)
    if not FIRST_DISK <= value <= 0xFF:
        raise argparse.ArgumentTypeError("the BIOS's number of a disk is needed: 0x80, 0x81, ...")
    return value


def _unfenced(text: str) -> str:
    try:
        return parse_exception(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _recording_id(text: str) -> str:
    if text != ANY_RECORDING and not re.fullmatch(r"[0-9a-fA-F]{1,16}", text):
        raise argparse.ArgumentTypeError("a recording's ID is needed, as extract_log.py info says")
    return text.lower()


def _guest_arguments(
    menu: argparse.ArgumentParser, disk: dict[str, Any]
) -> argparse.ArgumentParser:
    """Which guest; `disk` describes the argument of --disk."""
    guest = argparse.ArgumentParser(add_help=False, parents=[menu])
    kernel = guest.add_mutually_exclusive_group(required=True)
    kernel.add_argument("--linux", type=Path, metavar="BZIMAGE", help="a Linux kernel")
    kernel.add_argument("--multiboot", type=Path, metavar="ELF", help="a multiboot kernel")
    kernel.add_argument(
        "--boot-sector", type=Path, metavar="FILE", help="512 bytes, started in real mode"
    )
    kernel.add_argument("--disk", **disk)
    guest.add_argument("--initrd", type=Path, metavar="FILE", help="of the Linux kernel")
    guest.add_argument(
        "--module", type=Path, metavar="FILE", action="append", default=[], help="of the ELF file"
    )
    guest.add_argument("--append", default="", metavar="STR", help="the guest's command line")
    guest.add_argument("--memory", type=_positive, metavar="MIB", help="the guest's memory")
    return guest


def command_line() -> argparse.ArgumentParser:
    """The parser; `command` is one of lvmm.cli's."""
    parser = argparse.ArgumentParser(
        prog="lvmm",
        description="Record a whole machine and replay it exactly.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lvmm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    on_board = argparse.ArgumentParser(add_help=False)
    on_board.add_argument("--board", default=DEFAULT_BOARD, help="a board of boards/ (%(default)s)")

    menu = argparse.ArgumentParser(add_help=False)
    menu.add_argument(
        "--menu-timeout", type=int, default=0, metavar="S", help="how long GRUB's menu waits (0)"
    )

    guest = _guest_arguments(
        menu,
        {
            "type": Path,
            "metavar": "IMAGE",
            "help": "a disk image; the machine's BIOS boots what is on it",
        },
    )

    run = argparse.ArgumentParser(add_help=False)
    run.add_argument("--seed", type=_seed, metavar="N", help="of the counter's skid (random)")
    run.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help=f"end the run then ({DEFAULT_TIMEOUT_S:.0f} s; with --gdb or --attach never)",
    )
    run.add_argument("--gdb", type=_tcp_port, metavar="PORT", help="serve gdb on this port")
    run.add_argument(
        "--attach",
        type=_tcp_port,
        metavar="PORT",
        help="let ./lvmm attach --serial :PORT at this machine",
    )
    run.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        help="start the guest only when gdb says so (with --gdb, replay does, live and record not)",
    )
    run.add_argument("--json", action="store_true", help="results as JSON on stdout")

    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument(
        "--net-port",
        type=_port,
        metavar="UDP_PORT",
        help="loopback port for frames to the guest's card; it sends to the next one",
    )
    machine.add_argument(
        "--watchdog",
        type=_watchdog,
        default=0,
        metavar="S",
        help="end the run of a guest that makes no progress for S seconds of its time (0: never)",
    )
    machine.add_argument(
        "--as-disk", action="store_true", help="boot the image with the guest as a disk, not a CD"
    )
    machine.add_argument(
        "--usb-disk",
        type=Path,
        metavar="IMAGE",
        help="a disk image that the machine has on a USB port (UHCI); it stays as it is, and a"
        " replay needs none",
    )
    machine.add_argument(
        "--disk-write",
        action="store_true",
        help="keep what the guest writes to IMAGE of --disk (else the image stays as it is)",
    )

    recorded = argparse.ArgumentParser(add_help=False)
    recorded.add_argument(
        "--on-demand",
        action="store_true",
        help="record only what the guest asks for: lvmm_start_recording() of guest_support/lvmm.h",
    )
    for name, what in (("start", "begin the recording"), ("stop", "end run and recording")):
        recorded.add_argument(
            f"--{name}-at",
            metavar="TRIGGER",
            help=f"{what} at 'console TEXT', 'packet HEXDIGITS' or 'break ADDRESS_OR_SYMBOL'",
        )
    recorded.add_argument(
        "--sent-bytes",
        type=_sent_bytes,
        metavar="N",
        help="of each frame that the guest sends, keep the first N bytes for extract_log.py pcap"
        " (all; replay needs none)",
    )
    recorded.add_argument(
        "--unfenced",
        type=_unfenced,
        action="append",
        default=[],
        metavar="BDF|all",
        help="let this device (00:04.0), or all, become bus master although it has no DMA profile:"
        " the recording is marked as unsound, and may not replay; may be given several times",
    )
    recorded.add_argument(
        "--early-reads",
        action="store_true",
        help="tell where the guest reads a buffer that a device owns and may be writing to; costs"
        " time (docs/early-reads.md)",
    )
    recorded.add_argument(
        "--sink",
        choices=("memory", "serial", "serial-stop"),
        default="memory",
        help="where the log goes: it stays in the machine's memory until the run is over, or comes"
        " over the monitor's line meanwhile, and where that is too slow the guest waits, or"
        " (serial-stop) the recording ends (%(default)s)",
    )
    recorded.add_argument(
        "--log-size", type=_log_kib, metavar="KIB", help="of the log region (the board's)"
    )
    recorded.add_argument(
        "--ring",
        type=_ring_kib,
        metavar="SIZE",
        help="keep the newest part of the log only, in a ring of this size, as 256M"
        " (docs/flight-recorder.md)",
    )
    recorded.add_argument(
        "--epoch-ms",
        type=_epoch_ms,
        metavar="N",
        help="with --ring: begin an epoch each N ms of the guest's time (each eighth of the ring)",
    )
    recorded.add_argument(
        "--epoch-events",
        type=_epoch_events,
        metavar="N",
        help="with --ring: begin an epoch each N events",
    )
    record = commands.add_parser(
        "record",
        parents=[on_board, guest, run, machine, recorded],
        help="run a guest and record it",
    )
    record.add_argument("-o", "--output", type=Path, metavar="DIR")
    record.add_argument(
        "--overwrite", action="store_true", help="with --ring: what is old may be lost"
    )

    replay = commands.add_parser("replay", parents=[run], help="replay a recording and compare")
    replay.add_argument("directory", type=Path, metavar="DIR_or_PACK_or_LOG")
    replay.add_argument(
        "--image",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a file of the guest's that is not in the pack, or of a log's guest; may be repeated",
    )
    replay.add_argument(
        "--from-end",
        action="store_true",
        help="with --gdb or --attach: look at the end first, and go back from there; checkpoints"
        " are kept beside the recording, so that the next time takes seconds",
    )
    replay.add_argument(
        "--core", type=Path, metavar="FILE", help="write registers and memory at the end, as ELF"
    )
    replay.add_argument(
        "--symbols", type=Path, metavar="FILE", help="with --core: a Linux kernel's symbols"
    )
    replay.add_argument(
        "--until", type=_event, metavar="EVENT", help="end before this event (with --core)"
    )
    replay.add_argument(
        "--checkpoints",
        type=_positive,
        metavar="BRANCHES",
        help="keep points to go back to, so many conditional branches from one to the next"
        " (with --gdb or --attach 2,000,000)",
    )

    replay.add_argument(
        "--find",
        action="append",
        default=[],
        metavar="QUERY",
        help="search the replay: 'write PLACE [LEN]', 'change PLACE [LEN]', 'call FUNCTION',"
        " 'running EVENT' (docs/queries.md); may be repeated",
    )
    replay.add_argument("--last", action="store_true", help="with --find: only what is found last")
    replay.add_argument(
        "--limit", type=_positive, metavar="N", help="with --find: so much of each query is enough"
    )

    commands.add_parser(
        "live", parents=[on_board, guest, run, machine], help="run a guest without a log"
    )

    attached = commands.add_parser("attach", help="debug a machine at its monitor's serial line")
    attached.add_argument(
        "--serial",
        required=True,
        metavar="LINE",
        help="/dev/ttyUSB0 or the like, HOST:PORT, socket://HOST:PORT or rfc2217://HOST:PORT; "
        ":PORT for a run with --attach PORT",
    )
    attached.add_argument("--gdb", type=_tcp_port, metavar="PORT", help="serve gdb on this port")
    attached.add_argument(
        "--console", action="store_true", help="show the guest's console; type to it"
    )
    attached.add_argument(
        "--linux", type=Path, metavar="BZIMAGE", help="the guest's kernel, for `monitor symbols`"
    )
    attached.add_argument("--log", type=Path, metavar="FILE", help="a copy of the console")
    attached.add_argument(
        "--save-log",
        type=Path,
        metavar="FILE",
        help="take the log of a recording meanwhile (log.lvmm; one that exists is gone on with)",
    )
    attached.add_argument("--json", action="store_true", help="the state as JSON on stdout")

    built = _guest_arguments(
        menu,
        {
            "type": _bios_disk,
            "metavar": "BIOS_NUMBER",
            "help": "the machine's own disk; 0x80 is the BIOS's first, or the USB stick that the"
            " machine was started from",
        },
    )
    build = commands.add_parser(
        "build", parents=[on_board, built, recorded], help="make the boot image alone"
    )
    build.add_argument("-o", "--output", type=Path, required=True, metavar="IMAGE")
    build.add_argument("--mode", choices=("record", "live"), default="record")
    build.add_argument(
        "--wait", action="store_true", help="the guest starts only when gdb says so (see attach)"
    )
    build.add_argument(
        "--overwrite",
        type=_recording_id,
        nargs="?",
        const=ANY_RECORDING,
        metavar="ID",
        help="let the monitor overwrite the log of recording ID in the machine's memory "
        "(without ID: any log)",
    )

    rescue = commands.add_parser(
        "rescue",
        parents=[on_board, menu],
        help="make an image that boots a Linux which saves the log out of the machine's memory",
    )
    rescue.add_argument("-o", "--output", type=Path, required=True, metavar="IMAGE")
    rescue.add_argument(
        "--append", default="", metavar="STR", help="more words for that Linux's command line"
    )

    demo = commands.add_parser("demo", parents=[on_board], help="record and replay a real Linux")
    demo.add_argument("-o", "--output", type=Path, default=None, metavar="DIR")

    bench = commands.add_parser(
        "bench", parents=[on_board], help="measure; the results go to build/bench/bench.json too"
    )
    bench.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a benchmark: debug-link, devices, flight-recorder, time-travel, workloads, peers; or"
        " one of the workloads: boot, fork, faults, timers, switch, tsc, rep, fpu, selfmod, disk,"
        " udp, tcp, appliance (default: all but the peers)",
    )
    bench.add_argument("--quick", action="store_true", help="few repetitions")
    bench.add_argument(
        "--peers",
        action="store_true",
        help="QEMU's record and replay of the same guest, too; QEMU is installed if it is missing",
    )
    bench.add_argument("--json", action="store_true", help="results as JSON on stdout")

    doctor = commands.add_parser(
        "doctor",
        help="tell what this machine and a board can do, and what to fix",
        description="Tells what this machine has and lacks; it changes nothing. With --board it"
        " boots the monitor there, without a guest, and tells what that finds. The exit code is 0"
        " when nothing is missing, else 1.",
    )
    doctor.add_argument("--board", metavar="BOARD", help="a board of boards/, which is booted")
    doctor.add_argument("--json", action="store_true", help="results as JSON on stdout")

    soak = commands.add_parser(
        "soak",
        parents=[on_board],
        help="record and replay under changing conditions, until something diverges",
    )
    soak.add_argument("--runs", type=_positive, default=20, metavar="N")
    soak.add_argument(
        "--seed",
        type=_seed,
        metavar="S",
        help="of the first run; the next has 1 more (random)",
    )
    soak.add_argument(
        "--workload",
        action="append",
        default=[],
        metavar="W",
        help="only this; may be repeated (docs/determinism.md has a list)",
    )
    soak.add_argument(
        "--jobs", type=_positive, metavar="N", help="runs at once (one a processor, up to 4)"
    )
    soak.add_argument(
        "--again", type=Path, metavar="DIR", help="replay a run that was kept, as it was replayed"
    )
    soak.add_argument(
        "--summary", action="store_true", help="run nothing: show what all soaks so far came to"
    )
    soak.add_argument("--json", action="store_true", help="results as JSON on stdout")

    test = commands.add_parser("test", help="run the tests; other arguments go to pytest")
    test.add_argument("--host", action="store_true", help="only those without a machine")
    return parser
