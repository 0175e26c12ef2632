"""Which device an access is to: names and address ranges, as far as a log tells or every PC has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lvmm.errors import UsageError
from lvmm.logs.header import RecordingHeader, enum_name
from lvmm.logs.layout import (
    HINT_DEVICES,
    HINT_STREAMS,
    Dma,
    DmaStream,
    In,
    InString,
    MmioRead,
    Payload,
    Rdmsr,
    Sent,
    StreamContent,
)

PORTS, MMIO, MSRS, STREAMS = "port", "mmio", "msr", "dma"
SPACES = (PORTS, MMIO, MSRS, STREAMS)

_PAGE = 4096
_PORT_BLOCK = 16  # ports so near to each other are taken for those of one device

Ranges = dict[str, list[tuple[int, int]]]  # by space: first and last address, inclusive

# Where every PC has them (the PC/AT's ports; Intel's chipset data sheets; SDM vol. 3, chapter 11).
_FIXED: dict[str, Ranges] = {
    "pic": {PORTS: [(0x20, 0x21), (0xA0, 0xA1), (0x4D0, 0x4D1)]},
    "pit": {PORTS: [(0x40, 0x43), (0x61, 0x61)]},
    "keyboard": {PORTS: [(0x60, 0x60), (0x64, 0x64)]},
    "rtc": {PORTS: [(0x70, 0x71)]},
    "isa-dma": {PORTS: [(0x00, 0x0F), (0x81, 0x8F), (0xC0, 0xDF)]},
    "ide": {PORTS: [(0x170, 0x177), (0x1F0, 0x1F7), (0x376, 0x376), (0x3F6, 0x3F6)]},
    "com1": {PORTS: [(0x3F8, 0x3FF)]},
    "com2": {PORTS: [(0x2F8, 0x2FF)]},
    "com3": {PORTS: [(0x3E8, 0x3EF)]},
    "com4": {PORTS: [(0x2E8, 0x2EF)]},
    "parallel": {PORTS: [(0x378, 0x37A)]},
    "vga": {PORTS: [(0x3B0, 0x3DF)], MMIO: [(0xA0000, 0xBFFFF)]},
    "floppy": {PORTS: [(0x3F0, 0x3F5), (0x3F7, 0x3F7)]},
    "pci": {PORTS: [(0xCF8, 0xCFF)]},
    "ioapic": {MMIO: [(0xFEC00000, 0xFEC00FFF)]},
    "hints": {STREAMS: [(HINT_STREAMS, HINT_STREAMS + 2 * HINT_DEVICES - 1)]},
    "hpet": {MMIO: [(0xFED00000, 0xFED00FFF)]},
    "lapic": {MMIO: [(0xFEE00000, 0xFEE00FFF)], MSRS: [(0x1B, 0x1B), (0x800, 0x8FF)]},
}


@dataclass(frozen=True)
class Device:
    """A device by its ranges of ports, memory, MSRs and DMA streams."""

    name: str
    ranges: Ranges

    def has(self, payload: Payload) -> bool:
        """Whether an event is of this device."""
        match payload:
            case In(port=address) | InString(port=address):
                space = PORTS
            case MmioRead(gpa=address):
                space = MMIO
            case Rdmsr(index=address):
                space = MSRS
            case Dma(stream=address) | Sent(stream=address):
                space = STREAMS
            case _:
                return False
        return any(low <= address <= high for low, high in self.ranges.get(space, ()))


def stream_name(number: int, header: RecordingHeader | None) -> str:
    """What a DMA stream is, as the recording's header tells."""
    for stream in header.dma_streams if header is not None else ():
        if stream.stream == number:
            content = enum_name(StreamContent, stream.content)
            return f"{profile_name(stream)} {_text(stream.ring)} {content}"
    if HINT_STREAMS <= number < HINT_STREAMS + 2 * HINT_DEVICES:
        device, shared = divmod(number - HINT_STREAMS, 2)
        return f"hints {device} {'shared' if shared else 'buffers'}"
    return f"stream {number}"


def profile_name(stream: DmaStream) -> str:
    """The name of the DMA profile, which is the device's."""
    return _text(stream.profile)


def fixed_device(space: str, address: int) -> str | None:
    """The name of the device that every PC has at an address."""
    for name, ranges in _FIXED.items():
        if any(low <= address <= high for low, high in ranges.get(space, ())):
            return name
    return None


def blocks(space: str, addresses: Iterable[int]) -> list[list[int]]:
    """The addresses in order, those that are near to each other together."""
    found: list[list[int]] = []
    for address in sorted(addresses):
        if found and _near(space, found[-1][-1], address):
            found[-1].append(address)
        else:
            found.append([address])
    return found


def _near(space: str, before: int, address: int) -> bool:
    if space == MMIO:
        return address // _PAGE - before // _PAGE <= 1
    return space == PORTS and address - before < _PORT_BLOCK


def parse_device(text: str, header: RecordingHeader | None) -> Device:
    """The device with a name, or `port:LOW-HIGH` and the like. Raises UsageError."""
    space, colon, span = text.partition(":")
    if colon and space in SPACES:
        return Device(text, {space: [_parse_span(text, span)]})
    streams = header.dma_streams if header is not None else []
    numbers = [(s.stream, s.stream) for s in streams if profile_name(s) == text]
    ranges = dict(_FIXED.get(text, {}))
    if numbers:
        ranges[STREAMS] = numbers
    if not ranges:
        known = sorted({*_FIXED, *(profile_name(stream) for stream in streams)})
        raise UsageError(
            f"--device {text}: no such device; give port:0x3f8-0x3ff, mmio:, msr:, dma:1, or one of"
            f" {', '.join(known)}"
        )
    return Device(text, ranges)


def _parse_span(text: str, span: str) -> tuple[int, int]:
    low, dash, high = span.partition("-")
    try:
        first = int(low, 0)
        last = int(high, 0) if dash else first
    except ValueError:
        raise UsageError(f"--device {text}: give an address, or two with - between") from None
    if not 0 <= first <= last:
        raise UsageError(f"--device {text}: the first address is above the last, or negative")
    return first, last


def _text(field: tuple[int, ...]) -> str:
    return bytes(field).rstrip(b"\0").decode("utf-8", "replace")
