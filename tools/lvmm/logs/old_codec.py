"""How events were stored in log formats 2 to 4: for reading them only.

Kind, asynchrony and position were told relative to what followed the last event at the same place;
all events but those at the same position had a check.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lvmm.logs.coding import slot_of
from lvmm.logs.event import GPR_NAMES, Event, Registers
from lvmm.logs.layout import PAYLOADS
from lvmm.logs.wire import (
    ADDRESS_LIMIT,
    MASK64,
    WireError,
    get_bytes,
    get_changed,
    get_exactly,
    get_fixed,
    get_svarint,
    get_uvarint,
)

OLD_VERSIONS = range(2, 5)

# The event at this offset of a payload, and the offset after it. Raises WireError.
Decoder = Callable[[bytes, int], tuple[Event, int]]

_KIND = 0x1F
_SAME = 0x20
_BRANCHES = 0x20  # without a kind: kind and site are as predicted, the branches follow
_ASYNC = 0x40
_FULL = 0x80
_SITE_MISS = 1
_REGISTERS = len(GPR_NAMES) + 1  # RFLAGS is the last
_STREAMS = 256
_STREAM_SMALL = 8  # data of up to this many bytes is stored as what differs from the stream's last
_OTHER_LENGTH, _OTHER_STEP, _STREAM_SHIFT = 1, 2, 2


class _Successor(NamedTuple):
    """What followed an event: kind and ASYNC as in the prefix, branches between, its slot."""

    prefix: int
    branches: int
    slot: int


@dataclass(slots=True)
class _Site:
    rip: int
    access: int
    value: int = 0
    successor: _Successor | None = None
    snapshot: list[int] | None = None


@dataclass(slots=True)
class _Stream:
    end: int = 0
    step: int = 0
    data: bytes = b""


class _OldCodec:
    """State of one chunk's coding; `site` is the site of the last position."""

    def __init__(self, branches: int, rip: int) -> None:
        self.branches = branches
        self.rip = rip
        self.last_snapshot: list[int] | None = None
        self.sites: dict[int, _Site] = {}
        self._tsc = 0
        self._access = 0
        self._streams: dict[int, _Stream] = {}
        self.site = self.install(rip)

    def install(self, rip: int) -> _Site:
        site = self.sites[slot_of(rip)] = _Site(rip, self._access)
        return site

    def get_tsc(self, data: bytes, at: int) -> tuple[int, int]:
        difference, at = get_svarint(data, at)
        self._tsc = self._tsc + difference & MASK64
        return self._tsc, at

    def get_ticks(self, data: bytes, at: int) -> tuple[int, int]:
        return self.get_tsc(data, at)

    def get_vector(self, data: bytes, at: int) -> tuple[int, int]:
        return get_fixed(data, at, 1)

    def get_frame(self, data: bytes, at: int) -> tuple[bytes, int]:
        return get_bytes(data, at)

    def get_read(self, data: bytes, at: int) -> tuple[int, int, int, int]:
        difference, at = get_svarint(data, at)
        change = 0
        if difference & 1:
            change, at = get_uvarint(data, at)
        site = self.site
        access = site.access + (difference >> 1) & MASK64
        if access >> 2 >= ADDRESS_LIMIT:
            raise WireError(f"no access at {access >> 2:#x}")
        self._access = site.access = access
        site.value ^= change
        return access >> 2, 1 << (access & 3), site.value, at

    def get_transfer(self, data: bytes, at: int) -> tuple[int, int, bytes, int]:
        head, at = get_uvarint(data, at)
        number = head >> _STREAM_SHIFT
        if number >= _STREAMS:
            raise WireError(f"no stream {number}")
        stream = self._streams.setdefault(number, _Stream())
        if head & _OTHER_STEP:
            step, at = get_svarint(data, at)
            stream.step = step & MASK64
        if head & _OTHER_LENGTH or len(stream.data) > _STREAM_SMALL:
            length = len(stream.data)
            if head & _OTHER_LENGTH:
                length, at = get_uvarint(data, at)
            stream.data, at = get_exactly(data, at, length)
        else:
            stream.data, at = get_changed(stream.data, data, at)
        address = stream.end + stream.step & MASK64
        stream.end = address + len(stream.data) & MASK64
        return number, address, stream.data, at


def old_decoder(branches: int, rip: int) -> Decoder:
    """What reads the events of a chunk of version 2 to 4 that begins at this position, in order."""
    return functools.partial(_decode_event, _OldCodec(branches, rip))


def _decode_event(codec: _OldCodec, data: bytes, at: int) -> tuple[Event, int]:
    prefix, at = get_fixed(data, at, 1)
    same_position = bool(prefix & _KIND and prefix & _SAME)
    if not same_position:
        prefix, at = _get_position(codec, prefix, data, at)
    payload_type = PAYLOADS.get(prefix & _KIND)
    if payload_type is None:
        raise WireError(f"unknown event kind {prefix & _KIND}")
    check = None
    registers = None
    if not same_position:
        check, at = get_fixed(data, at, 2)
        if prefix & _FULL:
            registers, at = _get_registers(codec, data, at)
    elif prefix & _FULL:
        raise WireError("registers without a position")
    branches, rip = codec.branches, codec.rip
    payload, at = payload_type.decode(codec, data, at)
    asynchronous = bool(prefix & _ASYNC)
    return Event(payload, branches, rip, asynchronous, same_position, check, registers), at


def _get_position(codec: _OldCodec, prefix: int, data: bytes, at: int) -> tuple[int, int]:
    """Read a position; returns the prefix, completed if predicted, and the offset after it."""
    if prefix & _KIND:
        branches, at = get_uvarint(data, at)
        if branches & _SITE_MISS:
            difference, at = get_svarint(data, at)
            site = codec.install((codec.rip + difference) & MASK64)
            slot = slot_of(site.rip)
        else:
            slot, at = get_fixed(data, at, 1)
            if slot not in codec.sites:
                raise WireError(f"slot {slot} holds no site")
            site = codec.sites[slot]
        successor = _Successor(prefix & ~_FULL, branches >> 1, slot)
    else:
        if prefix & ~(_FULL | _BRANCHES):
            raise WireError("flags at a predicted event")
        if codec.site.successor is None:
            raise WireError("a predicted event without prediction")
        successor = codec.site.successor
        if prefix & _BRANCHES:
            branches, at = get_uvarint(data, at)
            successor = successor._replace(branches=branches)
        site = codec.sites[successor.slot]
    _move_on(codec, site, successor)
    if codec.branches > MASK64:
        raise WireError("branches overflow")
    return prefix & _FULL | successor.prefix, at


def _move_on(codec: _OldCodec, site: _Site, successor: _Successor) -> None:
    """Make `site` that of the last position, after the one that `successor` follows."""
    codec.site.successor = successor
    codec.site = site
    codec.branches += successor.branches
    codec.rip = site.rip


def _get_registers(codec: _OldCodec, data: bytes, at: int) -> tuple[Registers, int]:
    new = list(codec.site.snapshot or codec.last_snapshot or [0] * _REGISTERS)
    changed, at = get_uvarint(data, at)
    if changed >> _REGISTERS:
        raise WireError("unknown registers")
    for i in range(_REGISTERS):
        if changed >> i & 1:
            difference, at = get_svarint(data, at)
            new[i] = (new[i] + difference) & MASK64
    codec.site.snapshot = codec.last_snapshot = new
    return Registers(tuple(new[:-1]), codec.rip, new[-1]), at
