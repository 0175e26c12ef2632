"""What was stored in another way in log format 5: for reading it only."""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.logs.coding import Codec
from lvmm.logs.prediction import ASYNC, SAME
from lvmm.logs.token import Head, Regs, expect, get_prefix, is_unstored
from lvmm.logs.wire import (
    ADDRESS_LIMIT,
    MASK64,
    WireError,
    get_changed,
    get_exactly,
    get_fixed,
    get_svarint,
    get_uvarint,
)

VERSION_5 = 5

_SOURCE, _POSITION, _PAYLOAD, _REGS, _RUN = 0x03, 0x0C, 0x10, 0x60, 0x80
_USUAL, _NONE = 0x00, 0x60  # a check if it is asynchronous; none though it is
_REGS_OF = {0x20: Regs.CHECK, 0x40: Regs.FULL}


_SMALL = 8  # data of up to this many bytes was stored as what differs from the stream's last
_LENGTH, _STEP, _STREAM = 1, 2, 4
_FLAGS = _LENGTH | _STEP | _STREAM


@dataclass(slots=True)
class _Stream:
    end: int = 0
    step: int = 0
    length: int = 0
    small: bytes = bytes(_SMALL)  # begins with the last data that was not longer


class Codec5(Codec):
    """State of one chunk's coding. Each transfer was an event for itself, or as predicted."""

    def __init__(self, branches: int, rip: int) -> None:
        """A chunk that begins at this position."""
        super().__init__(branches, rip)
        self._streams: dict[int, _Stream] = {}

    def get_read(self, data: bytes, at: int) -> tuple[int, int, int, int]:
        """See FieldReader."""
        difference = change = 0
        if self.stored:
            difference, at = get_svarint(data, at)
        if difference & 1:
            change, at = get_uvarint(data, at)
        last = self.expected or self.site
        access = last.access + (difference >> 1) & MASK64
        if access >> 2 >= ADDRESS_LIMIT:
            raise WireError(f"no access at {access >> 2:#x}")
        value = last.value ^ change
        self.remember_read(access, value)
        return access >> 2, 1 << (access & 3), value, at

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


def get_head_5(codec: Codec, data: bytes, at: int) -> tuple[Head, int]:
    """Read the first bytes of an event: as lvmm.logs.token.get_head()."""
    token = run = 0
    stored = at
    if at < len(data):
        token, stored = get_fixed(data, at, 1)
        if token & _RUN:
            run, stored = get_fixed(data, stored, 1)
    if is_unstored(codec, data, at, run):
        source = codec.predictor.first()
        expect(codec, source)
        return Head(source, 0, False, Regs.NONE), at
    stored = get_prefix(codec, token & _SOURCE, data, stored)
    prefix = codec.now.prefix
    asynchronous = prefix & ASYNC and not prefix & SAME
    regs = _REGS_OF.get(token & _REGS, Regs.NONE)
    if asynchronous and regs == Regs.CHECK:
        regs = Regs.PLACE
    elif asynchronous and token & _REGS == _USUAL:
        regs = Regs.CHECK
    return Head(token & _SOURCE, token & _POSITION, bool(token & _PAYLOAD), regs), stored
