"""The recording header: what was recorded, and on which machine."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from lvmm.logs.layout import (
    CpuidEntry,
    DmaStream,
    E820Entry,
    GuestKind,
    HeaderItem,
    Image,
    ImageRole,
    ItemHeader,
    Machine,
    MachineFlag,
)
from lvmm.logs.wire import WireError

_ALIGN = 8
_MACHINE_SIZE_2 = 48  # bytes, in format version 2: without the time of the start


@dataclass(frozen=True)
class RecordingHeader:
    """The items of a recording's first chunk."""

    machine: Machine
    monitor_version: str = ""
    board: str = ""
    cpu_brand: str = ""
    command_line: str = ""
    images: list[Image] = field(default_factory=list)
    cpuid: list[CpuidEntry] = field(default_factory=list)
    e820: list[E820Entry] = field(default_factory=list)
    dma_streams: list[DmaStream] = field(default_factory=list)

    @property
    def unsound(self) -> bool:
        """Whether it was made although something may not be recorded faithfully."""
        return bool(self.machine.flags & MachineFlag.UNSOUND)

    def encode(self) -> bytes:
        """The payload of the header chunk."""
        texts = {
            HeaderItem.MONITOR_VERSION: self.monitor_version,
            HeaderItem.BOARD: self.board,
            HeaderItem.CPU_BRAND: self.cpu_brand,
            HeaderItem.COMMAND_LINE: self.command_line,
        }
        tables: dict[HeaderItem, list[Any]] = {
            HeaderItem.IMAGES: self.images,
            HeaderItem.CPUID: self.cpuid,
            HeaderItem.E820: self.e820,
            HeaderItem.DMA_STREAMS: self.dma_streams,
        }
        out = _item(HeaderItem.MACHINE, self.machine.pack())
        for tag, text in texts.items():
            out += _item(tag, text.encode("utf-8", "surrogateescape"))
        for tag, table in tables.items():
            out += _item(tag, b"".join(entry.pack() for entry in table))
        return out

    @classmethod
    def decode(cls, payload: bytes) -> RecordingHeader:
        """Read the payload of a header chunk; raises WireError."""
        items = _items(payload)
        machine = items.get(HeaderItem.MACHINE)
        if machine is not None and len(machine) == _MACHINE_SIZE_2:
            machine = machine.ljust(Machine.STRUCT.size, b"\0")
        if machine is None or len(machine) != Machine.STRUCT.size:
            raise WireError("the recording header does not describe the machine")
        return cls(
            Machine.unpack(machine),
            _text(items, HeaderItem.MONITOR_VERSION),
            _text(items, HeaderItem.BOARD),
            _text(items, HeaderItem.CPU_BRAND),
            _text(items, HeaderItem.COMMAND_LINE),
            [Image.unpack(entry) for entry in _table(items, HeaderItem.IMAGES, Image.STRUCT)],
            [CpuidEntry.unpack(e) for e in _table(items, HeaderItem.CPUID, CpuidEntry.STRUCT)],
            [E820Entry.unpack(e) for e in _table(items, HeaderItem.E820, E820Entry.STRUCT)],
            [DmaStream.unpack(e) for e in _table(items, HeaderItem.DMA_STREAMS, DmaStream.STRUCT)],
        )

    def as_json(self) -> dict[str, Any]:
        """The header as JSON values; numbers as stored, enumerations by name."""
        machine = self.machine
        return {
            "monitor_version": self.monitor_version,
            "board": self.board,
            "guest_kind": enum_name(GuestKind, machine.guest_kind),
            "guest_memory_bytes": machine.guest_memory_bytes,
            "command_line": self.command_line,
            "images": [
                {
                    "role": enum_name(ImageRole, image.role),
                    "size": image.size,
                    "crc32c": f"{image.crc32c:08x}",
                }
                for image in self.images
            ],
            "cpu": {
                "brand": self.cpu_brand.strip(),
                "family": machine.cpu_family,
                "model": machine.cpu_model,
                "stepping": machine.cpu_stepping,
                "tsc_hz": machine.tsc_hz,
                "counter_event": f"{machine.counter_event:#x}",
            },
            "unsound": self.unsound,
            "e820": [
                {"base": entry.base, "length": entry.length, "type": entry.type}
                for entry in self.e820
            ],
            "cpuid": [
                [f"{value:08x}" for value in CpuidEntry.STRUCT.unpack(entry.pack())]
                for entry in self.cpuid
            ],
        }


def monitor_version(payload: bytes) -> str:
    """The version of the monitor in a header chunk of any format version; empty if unknown."""
    try:
        return _text(_items(payload), HeaderItem.MONITOR_VERSION)
    except WireError:
        return ""


def enum_name(kind: type[Any], value: int) -> str:
    """The lower-case name of an enumeration's value, or its number."""
    try:
        return str(kind(value).name).lower()
    except ValueError:
        return str(value)


def _item(tag: int, value: bytes) -> bytes:
    padding = -len(value) % _ALIGN
    return ItemHeader(tag, len(value)).pack() + value + bytes(padding)


def _items(payload: bytes) -> dict[int, bytes]:
    items: dict[int, bytes] = {}
    at = 0
    while at < len(payload):
        try:
            item = ItemHeader.unpack(payload, at)
        except struct.error:
            raise WireError("the recording header is cut short") from None
        at += ItemHeader.STRUCT.size
        end = at + item.length
        if end + -item.length % _ALIGN > len(payload):
            raise WireError("the recording header is cut short")
        items[item.tag] = payload[at:end]
        at = end + -item.length % _ALIGN
    return items


def _text(items: dict[int, bytes], tag: HeaderItem) -> str:
    return items.get(tag, b"").decode("utf-8", "replace")


def _table(items: dict[int, bytes], tag: HeaderItem, entry: struct.Struct) -> list[bytes]:
    value = items.get(tag, b"")
    if len(value) % entry.size:
        raise WireError(f"the recording header's table {tag.name} has a bad length")
    return [value[at : at + entry.size] for at in range(0, len(value), entry.size)]
