"""Writes pcapng, the file format of Wireshark: sections, interfaces and packets.

Source: the IETF's draft-ietf-opsawg-pcapng, sections 3 (blocks and options) and 4. Numbers are
little-endian; a block and each option is padded to 4 bytes.
"""

from __future__ import annotations

import struct

ETHERNET = 1  # link type
INBOUND, OUTBOUND = 1, 2  # direction of a packet: bits 0-1 of epb_flags

_SECTION_HEADER, _INTERFACE, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_NANOSECONDS = b"\x09"  # if_tsresol: units of 10^-9 s

_END_OF_OPTIONS, _COMMENT = 0, 1
_SHB_HARDWARE, _SHB_OS, _SHB_APPLICATION = 2, 3, 4
_IF_NAME, _IF_DESCRIPTION, _IF_TIME_RESOLUTION = 2, 3, 9
_EPB_FLAGS = 2

_BLOCK = struct.Struct("<II")
_OPTION = struct.Struct("<HH")
_PACKET = struct.Struct("<5I")
_LENGTH_MAX = 0xFFFF  # bytes of an option


def section(application: str, hardware: str, system: str, comment: str) -> bytes:
    """The block that a file begins with; the arguments are texts for people."""
    body = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(
        _SECTION_HEADER,
        body,
        (_COMMENT, comment.encode()),
        (_SHB_HARDWARE, hardware.encode()),
        (_SHB_OS, system.encode()),
        (_SHB_APPLICATION, application.encode()),
    )


def interface(name: str, description: str) -> bytes:
    """An Ethernet interface; a section's are numbered from 0 in the order of these blocks."""
    return _block(
        _INTERFACE,
        struct.pack("<HHI", ETHERNET, 0, 0),
        (_IF_NAME, name.encode()),
        (_IF_DESCRIPTION, description.encode()),
        (_IF_TIME_RESOLUTION, _NANOSECONDS),
    )


def packet(
    number: int, time_ns: int, data: bytes, length: int, direction: int, comment: str
) -> bytes:
    """A packet of interface `number`.

    `time_ns` counts from 1970, `length` is that of the packet of which `data` is the beginning;
    `direction` is INBOUND or OUTBOUND.
    """
    head = _PACKET.pack(number, time_ns >> 32, time_ns & 0xFFFFFFFF, len(data), length)
    return _block(
        _ENHANCED_PACKET,
        head + data + bytes(-len(data) % 4),
        (_COMMENT, comment.encode()),
        (_EPB_FLAGS, direction.to_bytes(4, "little")),
    )


def _block(kind: int, body: bytes, *options: tuple[int, bytes]) -> bytes:
    """A block; options without a value are left out, too long ones cut."""
    tail = bytearray()
    for code, value in options:
        value = value[:_LENGTH_MAX]
        if value:
            tail += _OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4)
    if tail:
        tail += _OPTION.pack(_END_OF_OPTIONS, 0)
    length = _BLOCK.size + len(body) + len(tail) + 4
    return _BLOCK.pack(kind, length) + body + tail + length.to_bytes(4, "little")
