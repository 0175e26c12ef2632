"""Events, and how they are stored in a chunk.

The counterpart of hypervisor/replay/log_codec.c; docs/log-format.md explains both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lvmm.logs.crc import crc32c
from lvmm.logs.layout import PAYLOADS, RFLAGS_UNCHECKED, ChunkHeader, EventKind, Payload
from lvmm.logs.wire import (
    MASK64,
    Codec,
    Site,
    Successor,
    WireError,
    get_fixed,
    get_svarint,
    get_uvarint,
    put_svarint,
    put_uvarint,
    slot_of,
)

GPR_NAMES = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)

_KIND = 0x1F
_SAME = 0x20
_BRANCHES = 0x20  # without a kind: kind and site are as predicted, the branches follow
_ASYNC = 0x40
_FULL = 0x80
_SITE_MISS = 1
_BRANCHES_LIMIT = 1 << 63
_SNAPSHOT_REGS = len(GPR_NAMES) + 1  # RFLAGS is the last
_CHECKED = struct.Struct("<18QI")


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers at a position; `gpr` in the order of GPR_NAMES."""

    gpr: tuple[int, ...]
    rip: int
    rflags: int

    def check(self, out_crc: int) -> int:
        """The position check, given the CRC-32C of all output so far."""
        rflags = self.rflags & ~RFLAGS_UNCHECKED
        return crc32c(_CHECKED.pack(*self.gpr, self.rip, rflags, out_crc)) & 0xFFFF


@dataclass(slots=True)
class Event:
    """One event at a position: after `branches` conditional branches, at `rip`.

    `check` is None when the position is that of the event before; `registers` is None unless
    all were stored. `index` counts from 0; `offset` and `size` tell where its bytes are in the
    recording's file. The last three are not compared.
    """

    payload: Payload
    branches: int
    rip: int
    asynchronous: bool = False
    same_position: bool = False
    check: int | None = None
    registers: Registers | None = None
    index: int = 0
    offset: int = 0
    size: int = 0

    @property
    def kind(self) -> EventKind:
        """The kind of the payload."""
        return self.payload.KIND

    @property
    def name(self) -> str:
        """The kind's name as in the description."""
        return self.payload.KIND.name


def encode_event(codec: Codec, event: Event, out: bytearray) -> None:
    """Append an event; raises WireError when the format cannot hold it.

    `event.check` must be given unless same_position. After an error the codec is of no use.
    """
    prefix = event.kind | (_ASYNC if event.asynchronous else 0)
    if event.same_position:
        out.append(prefix | _SAME)
    else:
        prefix |= _FULL if event.registers is not None else 0
        _put_position(codec, event, prefix, out)
        if event.check is None:
            raise WireError("a position needs a check")
        out += event.check.to_bytes(2, "little")
        if event.registers is not None:
            _put_registers(codec, event.registers, out)
    event.payload.encode(codec, out)


def decode_event(codec: Codec, data: bytes, at: int) -> tuple[Event, int]:
    """Read the event at offset `at`; returns it and the offset after it. Raises WireError."""
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


def decode_chunk(header: ChunkHeader, payload: bytes, offset: int = 0) -> Iterator[Event]:
    """Yield the events of a chunk; raises WireError when it is malformed.

    `offset` is where the payload begins in the recording's file.
    """
    codec = Codec(header.first_branches, header.first_rip)
    at = 0
    for index in range(header.first_event, header.first_event + header.event_count):
        event, end = decode_event(codec, payload, at)
        event.index = index
        event.offset = offset + at
        event.size = end - at
        at = end
        yield event
    if at != len(payload):
        raise WireError(f"{len(payload) - at} bytes follow the last event")


def _put_position(codec: Codec, event: Event, prefix: int, out: bytearray) -> None:
    branches = event.branches - codec.branches
    if not 0 <= branches < _BRANCHES_LIMIT:
        raise WireError(f"branches go from {codec.branches} to {event.branches}")
    successor = Successor(prefix & ~_FULL, branches, slot_of(event.rip))
    site = codec.sites.get(successor.slot)
    if site is not None and site.rip == event.rip:
        predicted = codec.site.successor
        if predicted == successor:
            out.append(prefix & _FULL)
        elif predicted and (predicted.prefix, predicted.slot) == (successor.prefix, successor.slot):
            out.append(prefix & _FULL | _BRANCHES)
            put_uvarint(out, branches)
        else:
            out.append(prefix)
            put_uvarint(out, branches << 1)
            out.append(successor.slot)
    else:
        out.append(prefix)
        put_uvarint(out, branches << 1 | _SITE_MISS)
        put_svarint(out, event.rip - codec.rip)
        site = codec.install(event.rip)
    _move_on(codec, site, successor)


def _get_position(codec: Codec, prefix: int, data: bytes, at: int) -> tuple[int, int]:
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
        successor = Successor(prefix & ~_FULL, branches >> 1, slot)
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


def _move_on(codec: Codec, site: Site, successor: Successor) -> None:
    """Make `site` that of the last position, after the one that `successor` follows."""
    codec.site.successor = successor
    codec.site = site
    codec.branches += successor.branches
    codec.rip = site.rip


def _put_registers(codec: Codec, registers: Registers, out: bytearray) -> None:
    old = codec.site.snapshot or codec.last_snapshot or [0] * _SNAPSHOT_REGS
    new = [*registers.gpr, registers.rflags]
    changed = [i for i in range(_SNAPSHOT_REGS) if new[i] != old[i]]
    put_uvarint(out, sum(1 << i for i in changed))
    for i in changed:
        put_svarint(out, new[i] - old[i])
    codec.site.snapshot = codec.last_snapshot = new


def _get_registers(codec: Codec, data: bytes, at: int) -> tuple[Registers, int]:
    new = list(codec.site.snapshot or codec.last_snapshot or [0] * _SNAPSHOT_REGS)
    changed, at = get_uvarint(data, at)
    if changed >> _SNAPSHOT_REGS:
        raise WireError("unknown registers")
    for i in range(_SNAPSHOT_REGS):
        if changed >> i & 1:
            difference, at = get_svarint(data, at)
            new[i] = (new[i] + difference) & MASK64
    codec.site.snapshot = codec.last_snapshot = new
    return Registers(tuple(new[:-1]), codec.rip, new[-1]), at
