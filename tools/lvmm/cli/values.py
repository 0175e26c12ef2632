"""Values of options: text in, a value out, or an ArgumentTypeError that says what is needed."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

from lvmm.fence import parse_exception
from lvmm.guest import FIRST_DISK
from lvmm.session import LOG_MIN_KIB, RING_MIN_KIB

EPOCH_MS_MAX = 3_600_000
ANY_RECORDING = "any"  # of build --overwrite, and of the monitor's word
_U32_MAX = (1 << 32) - 1
_MENU_MAX_S = 86_400


def _whole(
    needed: str, least: int, most: int | None = None, base: int = 10
) -> Callable[[str], int]:
    """A whole number in this range; `needed` is what an error says."""

    def parse(text: str) -> int:
        try:
            value = int(text, base)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{needed}, not {text!r}") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{needed}, not {text!r}")
        return value

    return parse


positive = _whole("a positive whole number is needed", 1)
udp_port = _whole("a UDP port from 1024 to 65534 is needed", 1024, 65534)
tcp_port = _whole("a TCP port from 1 to 65535 is needed", 1, 65535)
seed = _whole(f"a whole number from 0 to {_U32_MAX} is needed", 0, _U32_MAX)
event = _whole("the index of an event is needed", 0)
log_kib = _whole(f"KiB are needed, at least {LOG_MIN_KIB}", LOG_MIN_KIB)
epoch_ms = _whole(f"milliseconds from 1 to {EPOCH_MS_MAX} are needed", 1, EPOCH_MS_MAX)
epoch_events = _whole(f"a number of events from 1 to {_U32_MAX} is needed", 1, _U32_MAX)
watchdog_s = _whole("whole seconds from 0 to 86400 are needed", 0, 86_400)
menu_s = _whole(f"whole seconds from 0 to {_MENU_MAX_S} are needed", 0, _MENU_MAX_S)
sent_bytes = _whole("bytes from 0 to 262144 are needed", 0, 262_144)
bios_disk = _whole(
    "the BIOS's number of a disk is needed: 0x80, 0x81, ...", FIRST_DISK, 0xFF, base=0
)


def timeout_s(text: str) -> float:
    """Seconds, more than none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"seconds are needed, more than 0, not {text!r}")
    return value


def one_line(text: str) -> str:
    """Words for a command line."""
    if "\n" in text or "\r" in text:
        raise argparse.ArgumentTypeError("one line is needed")
    return text


def ring_kib(text: str) -> int:
    """A size with its unit."""
    match = re.fullmatch(r"([0-9]+)([KMG])i?B?", text, re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"a size is needed, as 256M, not {text!r}")
    kib = int(match[1]) << {"K": 0, "M": 10, "G": 20}[match[2].upper()]
    if kib < RING_MIN_KIB:
        raise argparse.ArgumentTypeError(f"at least {RING_MIN_KIB >> 10}M is needed, not {text!r}")
    return kib


def unfenced(text: str) -> str:
    """A device that the fence lets through, or all of them."""
    try:
        return parse_exception(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def recording_id(text: str) -> str:
    """The ID of a recording, or ANY_RECORDING."""
    if text != ANY_RECORDING and not re.fullmatch(r"[0-9a-fA-F]{1,16}", text):
        raise argparse.ArgumentTypeError("a recording's ID is needed, as extract_log.py info says")
    return text.lower()
