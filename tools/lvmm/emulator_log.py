"""What Bochs says in its log."""

from __future__ import annotations

import re
from pathlib import Path

POWER_OFF = "ACPI control: soft power off"

_TAIL_BYTES = 8192
# A line of the log: emulated time, level (e: error, p: panic), device, message.
_COMPLAINT = re.compile(r"\d+[ep](\[.*)")


def complaints(log: Path) -> list[str]:
    """The last errors and panics in a log, device and message; none where there is no log."""
    try:
        tail = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return []
    return [match[1] for line in tail.splitlines() if (match := _COMPLAINT.match(line.strip()))]
