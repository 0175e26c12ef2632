"""Frames of the debug link (docs/debug-link.md), and what lies between them.

A frame is a zero byte, the COBS coding of channel, sequence number, payload and CRC-32C
(little-endian), and a zero byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cobs import cobs  # type: ignore[import-untyped]

from lvmm.link.layout import PAYLOAD_MAX, REPLY_FLAG, Channel
from lvmm.logs.crc import crc32c

DELIMITER = b"\0"
_HEAD_SIZE = 2
_CRC_SIZE = 4
_BLOCK = 254  # bytes after which COBS adds one
_SIZE_MAX = _HEAD_SIZE + PAYLOAD_MAX + _CRC_SIZE
_CODED_MAX = _SIZE_MAX + _SIZE_MAX // _BLOCK + 1

# No byte of these is in a text, so the second byte after a zero tells a frame from text.
_CHANNELS = frozenset(Channel) | {channel | REPLY_FLAG for channel in Channel}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's content; `channel` has REPLY_FLAG in a reply."""

    channel: int
    sequence: int
    payload: bytes

    def encode(self) -> bytes:
        """The bytes on the wire. Raises ValueError when the payload is too long."""
        if len(self.payload) > PAYLOAD_MAX:
            raise ValueError(f"a frame holds {PAYLOAD_MAX} bytes, not {len(self.payload)}")
        content = bytes((self.channel, self.sequence)) + self.payload
        content += crc32c(content).to_bytes(_CRC_SIZE, "little")
        return DELIMITER + cobs.encode(content) + DELIMITER  # type: ignore[no-any-return]


def decode(coded: bytes) -> Frame | None:
    """The frame that stands between two zero bytes; None when it is none, or damaged."""
    try:
        content: bytes = cobs.decode(coded)
    except cobs.DecodeError:
        return None
    end = len(content) - _CRC_SIZE
    if not _HEAD_SIZE <= end <= _HEAD_SIZE + PAYLOAD_MAX:
        return None
    if crc32c(content[:end]) != int.from_bytes(content[end:], "little"):
        return None
    return Frame(content[0], content[1], content[_HEAD_SIZE:end])


class FrameReceiver:
    """Takes the bytes of a line and gives back frames and, as bytes, what lies between them.

    It keeps no more than one frame. `damaged` counts what began like a frame and was none.
    """

    def __init__(self) -> None:
        self._pending = bytearray()  # since the last zero byte, as long as it may be a frame
        self._is_text = False
        self.damaged = 0

    def feed(self, data: bytes) -> Iterator[Frame | bytes]:
        """Takes the next bytes of the line."""
        first, *rest = data.split(DELIMITER)
        yield from self._add(first)
        for part in rest:
            yield from self._end()
            yield from self._add(part)

    def _add(self, part: bytes) -> Iterator[bytes]:
        if self._is_text:
            if part:
                yield part
            return
        if len(self._pending) <= _CODED_MAX:
            self._pending += part
        if len(self._pending) >= _HEAD_SIZE and self._pending[1] not in _CHANNELS:
            self._is_text = True
            yield bytes(self._pending)
            self._pending.clear()

    def _end(self) -> Iterator[Frame]:
        pending = bytes(self._pending)
        self._pending.clear()
        self._is_text = False
        if pending:
            frame = decode(pending)
            if frame is not None:
                yield frame
            else:
                self.damaged += 1
