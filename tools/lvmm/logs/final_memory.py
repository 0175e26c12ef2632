"""The guest's memory where its run ended, page by page, in an image of all the machine's memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lvmm.logs.crc import crc32c
from lvmm.logs.errors import MemoryGone
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import FirmwareCopy, RegionHeader
from lvmm.logs.source import PAGE, Source

E820_RAM = 1
_LOW_RAM_END = 0xA0000
_LOW_MEMORY_END = 0x100000
_FIRMWARE_MAX = 1 << 16  # pages: the monitor keeps far fewer
_BLOCK = 256  # pages that are read at once


@dataclass(frozen=True)
class FinalMemory:
    """`firmware`: where the content is of each page of the firmware's that the guest has touched,
    by its guest-physical address, in the order of the first touches.
    """

    source: Source
    size: int
    ram: frozenset[int]
    firmware: dict[int, int]

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Address and content of each page that the guest has: as the monitor walks over them."""
        for block in range(0, self.size, PAGE * _BLOCK):
            data = self.source.read(block, min(PAGE * _BLOCK, self.size - block))
            for gpa in range(block, block + len(data), PAGE):
                if gpa in self.firmware:
                    yield gpa, self.source.read(self.firmware[gpa], PAGE)
                elif gpa >= _LOW_MEMORY_END or gpa in self.ram:
                    yield gpa, data[gpa - block : gpa - block + PAGE]
        for gpa, place in self.firmware.items():
            if gpa >= self.size:
                yield gpa, self.source.read(place, PAGE)


def final_memory(source: Source, region: RegionHeader, header: RecordingHeader) -> FinalMemory:
    """The memory that belongs to a log region. Raises MemoryGone."""
    size = header.machine.guest_memory_bytes
    firmware: dict[int, int] = {}
    table = source.read(
        region.firmware, min(region.firmware_count, _FIRMWARE_MAX) * FirmwareCopy.STRUCT.size
    )
    for at in range(0, len(table), FirmwareCopy.STRUCT.size):
        copy = FirmwareCopy.unpack(table, at)
        if copy.gpa % PAGE or copy.data % PAGE or copy.data + PAGE > source.size:
            break
        firmware[copy.gpa] = copy.data
    memory = FinalMemory(source, size, frozenset(_low_ram(header)), firmware)
    if source.size < size or len(firmware) != region.firmware_count:
        raise MemoryGone(f"{source.name} does not hold the guest's memory, or not any more")
    if region.memory_known:
        crc = 0
        for _, data in memory.pages():
            crc = crc32c(data, crc)
        if crc != region.memory_crc32c:
            raise MemoryGone(
                f"the guest's memory in {source.name} is not what it was at the recording's end"
            )
    return memory


def _low_ram(header: RecordingHeader) -> Iterator[int]:
    """The pages below 640 KiB that are the guest's alone: page 0 is not, nor one with something of
    the firmware's in it.
    """
    for gpa in range(PAGE, _LOW_RAM_END, PAGE):
        if all(_type_of(header, address) == E820_RAM for address in (gpa, gpa + PAGE - 1)):
            yield gpa


def _type_of(header: RecordingHeader, address: int) -> int:
    for entry in header.e820:
        if entry.base <= address < entry.base + entry.length:
            return entry.type
    return 0
