"""The first bytes of a stored event, and how many that were as predicted are in front of it.

The counterpart of hypervisor/replay/log_token.c; docs/log-format.md explains both.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from lvmm.logs.coding import Codec
from lvmm.logs.layout import EVENT_RUN_MAX
from lvmm.logs.prediction import ASYNC, PREDICTIONS, SAME, Fact
from lvmm.logs.wire import WireError, get_fixed

# Parts of a token. What follows of the position; branches always.
_SOURCE, _POSITION, _PAYLOAD = 0x03, 0x0C, 0x10
BRANCHES, SLOT, RIP = 0x04, 0x08, 0x0C
_RUN_SHIFT, _MORE = 5, 7  # how many events as predicted came before; _MORE: another byte says it
_REGS, _MORE_RUN_SHIFT = 0x03, 2  # of that byte


class Regs(enum.IntEnum):
    """What is stored to tell a position from others that look alike."""

    NONE = 0
    CHECK = 1
    FULL = 2  # a check, and all registers
    PLACE = 3  # of an asynchronous event: a check, RF and RCX


class Head(NamedTuple):
    """What the token says: which prediction the event is told relative to, and what follows.

    `regs` is None for usual_regs().
    """

    source: int
    position: int
    payload: bool
    regs: int | None


def usual_regs(codec: Codec, prefix: int) -> Regs:
    """What an event at this site has of check and registers where its token does not say."""
    if not prefix & ASYNC or prefix & SAME or codec.site.unchecked:
        return Regs.NONE
    return Regs.CHECK


def may_be_unstored(codec: Codec, head: Head) -> bool:
    """Whether an event with this head needs no byte if it has no fields."""
    predicted = head == Head(codec.predictor.first(), 0, False, Regs.NONE)
    return predicted and codec.expected is not None and codec.run < EVENT_RUN_MAX


def put_head(codec: Codec, head: Head, out: bytearray) -> None:
    """Append the first bytes of the event at hand, and the number of those before it."""
    token = head.source | head.position | (_PAYLOAD if head.payload else 0)
    if codec.run < _MORE and head.regs == usual_regs(codec, codec.now.prefix):
        out.append(token | codec.run << _RUN_SHIFT)
    else:
        out.append(token | _MORE << _RUN_SHIFT)
        out.append((head.regs or 0) | codec.run << _MORE_RUN_SHIFT)
    if codec.expected is None:
        out.append(codec.now.prefix)
    codec.run = 0


def get_head(codec: Codec, data: bytes, at: int) -> tuple[Head, int]:
    """Read the first bytes of an event; sets `expected` and the prefix of `now`.

    Returns what they say and the offset after them. Raises WireError.
    """
    regs: int | None = None
    run = 0
    token = more = 0
    stored = at
    if at < len(data):
        token, stored = get_fixed(data, at, 1)
        run = token >> _RUN_SHIFT
        if run == _MORE:
            more, stored = get_fixed(data, stored, 1)
            regs, run = more & _REGS, more >> _MORE_RUN_SHIFT
    if is_unstored(codec, data, at, run):
        source = codec.predictor.first()
        expect(codec, source)
        return Head(source, 0, False, Regs.NONE), at
    stored = get_prefix(codec, token & _SOURCE, data, stored)
    return Head(token & _SOURCE, token & _POSITION, bool(token & _PAYLOAD), regs), stored


def get_prefix(codec: Codec, source: int, data: bytes, at: int) -> int:
    """Take the prefix of a prediction, or read it; returns the offset after it."""
    if source < PREDICTIONS:
        expect(codec, source)
        return at
    codec.expected = None
    prefix, at = get_fixed(data, at, 1)
    codec.now = Fact(prefix)
    return at


def expect(codec: Codec, source: int) -> None:
    """Make this prediction what the event is told relative to, and take its prefix."""
    codec.expected = codec.predictor.expected[source] if source < PREDICTIONS else None
    if codec.expected is None:
        raise WireError("a predicted event without prediction")
    codec.now = Fact(codec.expected.prefix)


def is_unstored(codec: Codec, data: bytes, at: int, run: int) -> bool:
    """Whether the next event is as predicted, and no byte of it is stored.

    `run`: how many such the stored event at `at` says to be in front of it.
    """
    if at == len(data):
        if codec.trailing >= EVENT_RUN_MAX:
            raise WireError("cut short")
        codec.trailing += 1
        return True
    if run and not codec.announced:
        if run > EVENT_RUN_MAX:
            raise WireError(f"{run} events as predicted")
        codec.announced = True
        codec.run = run
    if codec.run:
        codec.run -= 1
        return True
    codec.announced = False
    return False
