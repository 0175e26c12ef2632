"""The remote serial protocol's framing: `$data#checksum`, with escapes and run-length encoding.

The checksum is the sum of the data bytes modulo 256, in hexadecimal. `}` announces a byte that was
XORed with 0x20. `*` and a count repeat the byte before them (gdb manual, E.1 Overview).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

# What a packet's data may have, in either direction. Announced to the client. gdb asks for as much
# memory as fits in a reply, and waits 2 s for it: 8 KiB take 0.8 s over a line of 115,200 baud.
PACKET_SIZE = 0x4000

INTERRUPT = 0x03
_START, _END, _ESCAPE = b"$#}"
_HEX = b"0123456789abcdefABCDEF"


class Mark(enum.Enum):
    """What comes between packets, and what a broken packet becomes."""

    ACK = "+"
    NAK = "-"
    INTERRUPT = "interrupt"
    BROKEN = "broken"  # a wrong checksum, or a packet that is too big


@dataclass(frozen=True)
class Packet:
    """A packet whose checksum was right. Escapes are as they came: see unescape()."""

    data: bytes


def checksum(data: bytes) -> int:
    """The packet's checksum, over the data as sent."""
    return sum(data) & 0xFF


def frame(data: bytes) -> bytes:
    """A packet around `data`, which must have been escaped where it is binary."""
    return b"$%b#%02x" % (data, checksum(data))


def escape(data: bytes) -> bytes:
    """Binary data for a packet."""
    return re.sub(rb"[$#}*]", lambda match: bytes((_ESCAPE, match[0][0] ^ 0x20)), data)


def unescape(data: bytes) -> bytes:
    """The binary data that was escaped. Raises ValueError when it ends in an escape."""
    out = re.sub(rb"}(?s:(.))", lambda match: bytes((match[1][0] ^ 0x20,)), data + b"$")
    if not out.endswith(b"$"):
        raise ValueError("the data ends in an escape")
    return out[:-1]


def compress(text: bytes) -> bytes:
    """Run-length encoding of a reply that has no `*`, `#`, `$` or `}` of its own."""
    return re.sub(rb"(?s:(.))\1{3,97}", _run, text)


def _run(match: re.Match[bytes]) -> bytes:
    """A byte, `*`, and how many more as a character from 32 (3) to 126 (97)."""
    byte, length = match[1], len(match[0])
    more = length - 1
    while more + 29 in b"#$*+-}":  # some of them would be taken for something else
        more -= 1
    return b"%b*%c%b" % (byte, more + 29, byte * (length - 1 - more))


class Deframer:
    """Takes a stream of bytes apart. Whatever was received before, the next packet is found."""

    def __init__(self, limit: int = PACKET_SIZE) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet | Mark]:
        """What is complete with these bytes."""
        self._buffer += data
        while self._buffer:
            first = self._buffer[0]
            if first == _START:
                found = self._packet()
                if found is None:
                    return
                yield found
                continue
            del self._buffer[:1]
            if first == INTERRUPT:
                yield Mark.INTERRUPT
            elif first in b"+-":
                yield Mark(chr(first))

    def _packet(self) -> Packet | Mark | None:
        """The packet at the buffer's start, taken out of it; None while it is not complete."""
        end = self._buffer.find(_END, 1, self._limit + 2)
        again = self._buffer.find(_START, 1, end if end >= 0 else self._limit + 2)
        if again >= 0:  # `$` is always escaped: the first packet has lost its end
            del self._buffer[:again]
            return Mark.BROKEN
        if end < 0:
            if len(self._buffer) <= self._limit + 1:
                return None
            del self._buffer[: self._limit + 2]
            return Mark.BROKEN
        if len(self._buffer) < end + 3:
            return None
        data = bytes(self._buffer[1:end])
        digits = bytes(self._buffer[end + 1 : end + 3])
        right = all(digit in _HEX for digit in digits) and int(digits, 16) == checksum(data)
        # Digits that are none may be the start of something else.
        del self._buffer[: end + 3 if right else end + 1]
        return Packet(data) if right else Mark.BROKEN
