"""Digests of the guest's RAM: one SHA-256 over all of it and a CRC-32C for each page.

RAM is what the memory map that the guest was given calls RAM, but for page 0: the BIOS data area,
the EBDA and the ROM area are the firmware's and come to the guest from the log, page by page.
The page checksums name the first page in which two runs differ, without keeping their memories.
They are stored as little-endian 32-bit numbers, one a page, in the order of the pages; those that
are no RAM count as zeros.
"""

from __future__ import annotations

import array
import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lvmm.logs.crc import crc32c
from lvmm.logs.header import RecordingHeader

PAGE = 4096
E820_RAM = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class MemoryDigest:
    """`pages[n]` is the CRC-32C of the 4 KiB page at physical address n * 4096."""

    sha256: str
    pages: bytes

    def first_differences(self, other: bytes, limit: int = 8) -> list[int]:
        """Addresses of the first pages whose checksum differs from that in `other`."""
        count = max(len(self.pages), len(other)) // 4
        differing = (
            page * PAGE
            for page in range(count)
            if self.pages[4 * page : 4 * page + 4] != other[4 * page : 4 * page + 4]
        )
        return [address for address, _ in zip(differing, range(limit), strict=False)]


def ram_ranges(header: RecordingHeader, size: int) -> list[tuple[int, int]]:
    """Start and end, at page boundaries, of the guest's RAM below `size` bytes, in order."""
    ranges = []
    for entry in header.e820:
        start = max(-(-entry.base // PAGE) * PAGE, PAGE)
        end = min((entry.base + entry.length) // PAGE * PAGE, size)
        if entry.type == E820_RAM and start < end:
            ranges.append((start, end))
    return sorted(ranges)


def digest_memory(ram: Path, size: int, ranges: list[tuple[int, int]]) -> MemoryDigest:
    """Digests the RAM in `ranges` of a memory file's first `size` bytes; holes are zeros."""
    sha256 = hashlib.sha256()
    zero_crc = crc32c(bytes(PAGE))
    pages = array.array("I", [zero_crc]) * (size // PAGE)
    with ram.open("rb") as file:
        for start, end in _blocks(ranges):
            block = os.pread(file.fileno(), end - start, start).ljust(end - start, b"\0")
            sha256.update(block)
            if not block.strip(b"\0"):
                continue
            for at in range(0, len(block), PAGE):
                pages[(start + at) // PAGE] = crc32c(block[at : at + PAGE])
    if sys.byteorder == "big":
        pages.byteswap()
    return MemoryDigest(sha256.hexdigest(), pages.tobytes())


def _blocks(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in ranges:
        for at in range(start, end, _BLOCK):
            yield at, min(at + _BLOCK, end)
