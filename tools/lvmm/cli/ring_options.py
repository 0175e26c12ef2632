"""What the command line says of the log's size, and of a ring (docs/flight-recorder.md)."""

from __future__ import annotations

import argparse

from lvmm.board import Board
from lvmm.errors import UsageError
from lvmm.session import RingSettings

# What the monitor needs beside the ring, of the board's log region, for each GiB of guest memory.
_JOURNAL_KIB = 4096


def ring_settings(options: argparse.Namespace) -> RingSettings | None:
    """The ring, if there is to be one; `options` may be of a command that has none."""
    kib = getattr(options, "ring", None)
    if kib is None:
        return None
    return RingSettings(kib, options.epoch_ms or 0, options.epoch_events or 0)


def check_ring(options: argparse.Namespace, board: Board) -> None:
    """Raises UsageError for options that do not go together, and for a log that is too large."""
    region_mib = board.memory.log_mib
    if options.log_size is not None and options.log_size > region_mib << 10:
        raise UsageError(
            f"the board {board.name} has a log region of {region_mib} MiB: "
            f"--log-size is at most {region_mib << 10}"
        )
    if options.ring is None:
        if options.epoch_ms is not None or options.epoch_events is not None:
            raise UsageError("--epoch-ms and --epoch-events go with --ring SIZE")
        return
    if options.log_size is not None:
        raise UsageError("--ring has the log's size already: it goes without --log-size")
    if options.sink != "memory":
        raise UsageError(
            "--ring keeps the log in the machine's memory: it goes without --sink serial"
        )
    memory_mib = options.memory or board.memory.guest_default_mib
    largest = region_mib - -(-memory_mib * _JOURNAL_KIB // (1024 * 1024)) - 1
    if options.ring > largest << 10:
        raise UsageError(
            f"the board {board.name} has a log region of {region_mib} MiB: "
            f"with this guest the ring is at most {largest}M"
        )
