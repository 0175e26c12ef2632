"""What was stored in another way in log format 5: for reading it only."""

from __future__ import annotations

from lvmm.logs.coding import Codec
from lvmm.logs.old_transfers import OldCodec
from lvmm.logs.prediction import ASYNC, SAME
from lvmm.logs.token import Head, Regs, expect, get_prefix, is_unstored
from lvmm.logs.wire import ADDRESS_LIMIT, MASK64, WireError, get_fixed, get_svarint, get_uvarint

VERSION_5 = 5

_SOURCE, _POSITION, _PAYLOAD, _REGS, _RUN = 0x03, 0x0C, 0x10, 0x60, 0x80
_USUAL, _NONE = 0x00, 0x60  # a check if it is asynchronous; none though it is
_REGS_OF = {0x20: Regs.CHECK, 0x40: Regs.FULL}


class Codec5(OldCodec):
    """State of one chunk's coding; the fields that were stored in another way."""

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
