"""Find and read the memory region that the monitor reserves for its log."""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.logs.crc import crc32c
from lvmm.logs.errors import READABLE_VERSIONS, version_mismatch
from lvmm.logs.layout import REGION_MAGIC, RegionFlag, RegionHeader
from lvmm.logs.source import PAGE, Source

_PROLOGUE = 16  # magic, version and static_size, the same in every version
_MAGIC = REGION_MAGIC.to_bytes(8, "little")
_CRC_SIZE = 4


@dataclass(frozen=True)
class Region:
    """A region that starts at offset `base` of `source`."""

    source: Source
    base: int
    header: RegionHeader

    @property
    def has_chunks(self) -> bool:
        """Whether anything was recorded in it."""
        return bool(self.header.chunk_bytes or self.header.open_chunk)

    @property
    def overwrites(self) -> bool:
        """Whether it is a ring, in which the newest chunks overwrite the oldest."""
        return bool(self.header.flags & RegionFlag.OVERWRITES)

    @property
    def has_overwritten(self) -> bool:
        """Whether a ring has gone round."""
        return self.overwrites and self.header.lap_end != 0

    @property
    def chunks_start(self) -> int:
        """Offset of the chunk area in the source."""
        return self.base + self.header.chunks_offset

    @property
    def open_chunk(self) -> tuple[int, int]:
        """Payload bytes and events of the chunk that was being written."""
        return self.header.open_chunk & 0xFFFFFFFF, self.header.open_chunk >> 32

    @property
    def console_lost(self) -> int:
        """Bytes of the oldest console output that the ring holds no more."""
        return max(self.header.console_head - self.header.console_size, 0)

    def console(self) -> bytes:
        """The newest console output, as much as the ring holds."""
        size, head = self.header.console_size, self.header.console_head
        start = self.base + self.header.console_offset
        if head <= size:
            return self.source.read(start, head)
        ring = self.source.read(start, size)
        return ring[head % size :] + ring[: head % size]


def find_regions(source: Source) -> list[Region]:
    """All regions in the source, by address.

    Raises VersionMismatch when there are only some of another format version.
    """
    regions = []
    other_version = None
    for base in source.find(_MAGIC, 0, source.size, PAGE):
        page = source.read(base, PAGE)
        if not _intact(page):
            continue
        version = int.from_bytes(page[8:12], "little")
        if version not in READABLE_VERSIONS:
            other_version = version
            continue
        header = RegionHeader.unpack(page)
        if _plausible(header):
            regions.append(Region(source, base, header))
    if not regions and other_version is not None:
        raise version_mismatch(source.name, other_version)
    return regions


def _intact(page: bytes) -> bool:
    """Whether the static part is what its CRC-32C says; in any format version."""
    static_size = int.from_bytes(page[12:16], "little")
    if not _PROLOGUE <= static_size <= len(page) - _CRC_SIZE:
        return False
    stored = int.from_bytes(page[static_size : static_size + _CRC_SIZE], "little")
    return crc32c(page[:static_size]) == stored


def _plausible(header: RegionHeader) -> bool:
    size = header.console_size
    return (
        size >= PAGE
        and not size & (size - 1)
        and header.console_offset + size <= header.region_size
        and header.chunks_offset + header.chunks_size <= header.region_size
    )
