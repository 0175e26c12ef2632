"""The console ring in the log region of a running machine's memory file (docs/log-format.md)."""

from __future__ import annotations

import os
from pathlib import Path

from lvmm.logs.layout import REGION_MAGIC, RegionHeader


def read_region_header(ram: Path, log_base: int) -> RegionHeader | None:
    """The region header, or None while the monitor has not formatted the region."""
    size = RegionHeader.STRUCT.size
    try:
        with ram.open("rb") as file:
            data = os.pread(file.fileno(), size, log_base)
    except OSError:
        return None
    if len(data) < size:
        return None
    header = RegionHeader.unpack(data)
    return header if header.magic == REGION_MAGIC else None


def log_bytes(ram: Path, log_base: int) -> int:
    """Bytes of log written so far, those of the chunk being written included."""
    header = read_region_header(ram, log_base)
    if header is None:
        return 0
    return header.taken + header.chunk_bytes + (header.open_chunk & 0xFFFFFFFF)


class ConsoleRing:
    """Reads what the guest wrote to its console while the machine runs."""

    def __init__(self, ram: Path, log_base: int) -> None:
        self._ram = ram
        self._log_base = log_base
        self._read = 0

    def read_new(self) -> bytes:
        """What was written since the last call; what the ring has already lost is left out."""
        header = read_region_header(self._ram, self._log_base)
        if header is None or header.console_size == 0:
            return b""
        size = header.console_size
        self._read = max(self._read, header.console_head - size)
        start = self._log_base + header.console_offset
        parts = []
        with self._ram.open("rb") as file:
            while self._read < header.console_head:
                at = self._read % size
                length = min(size - at, header.console_head - self._read)
                parts.append(os.pread(file.fileno(), length, start + at))
                self._read += length
        return b"".join(parts)
