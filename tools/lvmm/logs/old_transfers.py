"""How transfers were stored in log format 5, which differs from the present one in these alone."""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.logs.coding import Codec
from lvmm.logs.wire import (
    MASK64,
    WireError,
    get_changed,
    get_exactly,
    get_fixed,
    get_svarint,
    get_uvarint,
)

VERSION = 5

_SMALL = 8  # data of up to this many bytes was stored as what differs from the stream's last
_LENGTH, _STEP, _STREAM = 1, 2, 4
_FLAGS = _LENGTH | _STEP | _STREAM


@dataclass(slots=True)
class _Stream:
    end: int = 0
    step: int = 0
    length: int = 0
    small: bytes = bytes(_SMALL)  # begins with the last data that was not longer


class OldCodec(Codec):
    """State of one chunk's coding. Each transfer was an event for itself, or as predicted."""

    def __init__(self, branches: int, rip: int) -> None:
        """A chunk that begins at this position."""
        super().__init__(branches, rip)
        self._streams: dict[int, _Stream] = {}

    def get_transfer(self, data: bytes, at: int) -> tuple[int, int, bytes, int]:
        """See FieldReader."""
        number = self.expected.sub if self.expected else 0
        flags = 0
        if self.stored:
            flags, at = get_fixed(data, at, 1)
        if flags & _STREAM:
            number, at = get_fixed(data, at, 1)
        elif self.expected is None:
            raise WireError("a transfer of no stream")
        stream = self._streams.setdefault(number, _Stream())
        step, length = stream.step, stream.length
        if flags & _STEP:
            step, at = get_svarint(data, at)
        if flags & _LENGTH:
            length, at = get_uvarint(data, at)
        if flags & ~_FLAGS:
            raise WireError("unknown flags of a transfer")
        if length <= _SMALL and not flags & _LENGTH:
            content = stream.small[:length]
            if self.stored:
                content, at = get_changed(content, data, at)
        elif self.stored:
            content, at = get_exactly(data, at, length)
        else:
            raise WireError("a transfer without its data")
        address = stream.end + step & MASK64
        self.now.sub = number
        stream.step = step & MASK64
        stream.end = address + length & MASK64
        stream.length = length
        if length <= _SMALL:
            stream.small = content + stream.small[length:]
        return number, address, content, at
