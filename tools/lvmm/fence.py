"""Devices whose DMA cannot be recorded, and what the monitor's fence did with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lvmm.pci_names import class_name, device_name

ALL = "all"
_ADDRESS = re.compile(r"(?:0000:)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])")

# Why a device is kept, and what to do: one without a profile,
_NO_PROFILE = (
    "it has no DMA profile and its driver gives no hints",
    "Write a profile or give hints (docs/adding-a-device.md)",
)
# and, by what it lacks, one that has a profile.
LACKS = {
    "memory": (
        "the devices before it have left no memory of the monitor's to shadow it",
        "Give memory.monitor_mib of the board's file more (docs/adding-a-board.md)",
    ),
    "streams": (
        "the devices before it use all numbers that the log has for what devices write",
        "Disable devices that the guest does not need, in the firmware's settings",
    ),
}


def parse_exception(text: str) -> str:
    """A PCI address as the monitor wants it, or `all`. Raises ValueError."""
    if text == ALL:
        return text
    match = _ADDRESS.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"{text} is neither a PCI address as in 00:04.0 nor {ALL}")
    return match[1]


def monitor_word(exceptions: tuple[str, ...]) -> str:
    """The value of the monitor's word `unfenced` for these exceptions."""
    return ALL if ALL in exceptions else ",".join(dict.fromkeys(exceptions))


def describe(message: dict[str, Any]) -> str:
    """What the monitor's message `fence` says, for the user: one line."""
    address, vendor, device, code = (
        str(message.get(key, "?")) for key in ("address", "vendor", "device", "class")
    )
    name = device_name(vendor, device)
    what = f"{class_name(code)} {vendor}:{device} at {address}" + (f" ({name})" if name else "")
    if message.get("allowed"):
        return (
            f"the {what} may be bus master, and what it writes into memory is not recorded: "
            "a replay may go another way"
        )
    why, remedy = LACKS.get(str(message.get("lacks")), _NO_PROFILE)
    return (
        f"the {what} is kept from becoming bus master: {why}, so what it writes into memory could "
        f"not be recorded. {remedy}, or let it with --unfenced {address}, for a recording that may "
        "not replay"
    )


def describe_unsound(unfenced: Sequence[str]) -> str:
    """What it means that these devices were let: one line."""
    devices = ", ".join(unfenced)
    return f"the recording is unsound (--unfenced {devices}): a replay may go another way"
