"""Events, and how they are stored in a chunk.

The counterpart of hypervisor/replay/log_codec.c; docs/log-format.md explains both.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from lvmm.logs import old_transfers
from lvmm.logs.coding import Codec, slot_of
from lvmm.logs.event import GPR_NAMES, Event, Place, Registers
from lvmm.logs.layout import EVENT_RUN_MAX, NOTES, PAYLOADS, ChunkHeader, Dma
from lvmm.logs.old_codec import OLD_VERSIONS, Decoder, old_decoder
from lvmm.logs.old_transfers import OldCodec
from lvmm.logs.prediction import ASYNC, PREDICTIONS, SAME, Fact
from lvmm.logs.wire import (
    MASK64,
    WireError,
    get_fixed,
    get_svarint,
    get_uvarint,
    put_svarint,
    put_uvarint,
)

__all__ = ["GPR_NAMES", "Event", "Place", "Registers", "decode_chunk", "encode_event"]

_KIND = 0x1F  # of a prefix

# The first byte of a stored event.
_SOURCE = 0x03  # which prediction it is told relative to; PREDICTIONS: none
_POSITION = 0x0C
_BRANCHES, _SLOT, _RIP = 0x04, 0x08, 0x0C  # what follows of the position; branches always
_PAYLOAD = 0x10  # the payload is not as expected
_REGS = 0x60
_CHECK = 0x20  # a check, though it is not asynchronous; or besides that of such an event RF and RCX
_FULL = 0x40  # a check, and all registers
_NONE = 0x60  # no check, though it is asynchronous
_RUN = 0x80  # events as predicted came before: how many follows

_PLACE_RF, _PLACE_RCX = 1, 2
_BRANCHES_LIMIT = 1 << 63
_SNAPSHOT_REGS = len(GPR_NAMES) + 1  # RFLAGS is the last


def encode_event(codec: Codec, event: Event, out: bytearray) -> None:
    """Append an event; raises WireError when the format cannot hold it.

    Nothing is appended for one that is as predicted. Registers and place need a check. After an
    error the codec is of no use.
    """
    known = event.same_position
    transfers = codec.transfers
    if (
        transfers.head is not None
        and isinstance(event.payload, Dma)
        and known
        and event.asynchronous == bool(codec.now.prefix & ASYNC)
    ):
        transfers.put_next(out, event.payload.stream, event.payload.gpa, event.payload.data)
        return
    branches = 0 if known else event.branches - codec.branches
    if not 0 <= branches < _BRANCHES_LIMIT:
        raise WireError(f"branches go from {codec.branches} to {event.branches}")
    predictor = codec.predictor
    predictor.predict()
    prefix = event.kind | (ASYNC if event.asynchronous else 0) | (SAME if known else 0)
    codec.now = Fact(prefix, branches, codec.rip if known else event.rip)
    token = predictor.best(codec.now)
    codec.expected = predictor.expected[token] if token < PREDICTIONS else None
    fields = bytearray()
    if codec.expected is None:
        fields.append(prefix)
    if not known:
        token |= _put_position(codec, fields)
        token |= _put_check(codec, event, fields)
    before = len(fields)
    transfers.head = None
    event.payload.encode(codec, fields)
    if len(fields) > before:
        token |= _PAYLOAD
    if not fields and token == predictor.first() and codec.run < EVENT_RUN_MAX:
        codec.run += 1
    else:
        out += bytes([token | _RUN, codec.run]) if codec.run else bytes([token])
        if transfers.head is not None:
            transfers.head += len(out)
        out += fields
        codec.run = 0
    predictor.learn(codec.now, event.kind in NOTES)


def decode_event(codec: Codec, data: bytes, at: int) -> tuple[Event, int]:
    """Read the event at offset `at`; returns it and the offset after it. Raises WireError.

    Behind the data's end come those that were as predicted: the chunk's header says how many.
    """
    if codec.transfers.follows:
        return _get_next_transfer(codec, data, at)
    codec.predictor.predict()
    token, prefix, at = _get_token(codec, data, at)
    codec.now = Fact(prefix, 0, codec.rip)
    codec.stored = bool(token & _PAYLOAD)
    payload_type = PAYLOADS.get(prefix & _KIND)
    if payload_type is None or prefix >> 7:
        raise WireError(f"unknown event kind {prefix:#x}")
    asynchronous, same_position = bool(prefix & ASYNC), bool(prefix & SAME)
    check = registers = place = None
    regs = token & _REGS
    if (regs == _NONE and not asynchronous) or (same_position and token & (_POSITION | _REGS)):
        raise WireError("flags at an event that cannot have them")
    if not same_position:
        at = _get_position(codec, token, data, at)
        if regs != _NONE and (asynchronous or regs):
            check, at = get_fixed(data, at, 2)
        if regs == _FULL:
            registers, at = _get_registers(codec, data, at)
        elif asynchronous and regs == _CHECK:
            place, at = _get_place(data, at)
    if not codec.stored and not payload_type.may_be_absent(codec.expected is not None):
        raise WireError("an event without its payload")
    branches, rip = codec.branches, codec.rip
    payload, at = payload_type.decode(codec, data, at)
    codec.predictor.learn(codec.now, payload.KIND in NOTES)
    return Event(payload, branches, rip, asynchronous, same_position, check, registers, place), at


def _get_next_transfer(codec: Codec, data: bytes, at: int) -> tuple[Event, int]:
    stream, gpa, content, at = codec.transfers.get_next(data, at)
    payload = Dma(stream, gpa, content)
    asynchronous = bool(codec.now.prefix & ASYNC)
    return Event(payload, codec.branches, codec.rip, asynchronous, same_position=True), at


def decode_chunk(header: ChunkHeader, payload: bytes, offset: int = 0) -> Iterator[Event]:
    """Yield the events of a chunk; raises WireError when it is malformed.

    `offset` is where the payload begins in the recording's file.
    """
    start = header.first_branches, header.first_rip
    codec = OldCodec(*start) if header.format_version == old_transfers.VERSION else Codec(*start)
    decode: Decoder = functools.partial(decode_event, codec)
    if header.format_version in OLD_VERSIONS:
        decode = old_decoder(*start)
    at = 0
    for index in range(header.first_event, header.first_event + header.event_count):
        event, end = decode(payload, at)
        event.index = index
        event.offset = offset + at
        event.size = end - at
        at = end
        yield event
    if at != len(payload):
        raise WireError(f"{len(payload) - at} bytes follow the last event")


def _get_token(codec: Codec, data: bytes, at: int) -> tuple[int, int, int]:
    """Read the first bytes of an event; returns token, prefix, and the offset after them."""
    if _is_unstored(codec, data, at):
        token = codec.predictor.first()
    else:
        codec.announced = False
        token = data[at]
        at += 2 if token & _RUN else 1
        if token & _SOURCE == PREDICTIONS:
            codec.expected = None
            prefix, at = get_fixed(data, at, 1)
            return token, prefix, at
    source = token & _SOURCE
    codec.expected = codec.predictor.expected[source] if source < PREDICTIONS else None
    if codec.expected is None:
        raise WireError("a predicted event without prediction")
    return token, codec.expected.prefix, at


def _is_unstored(codec: Codec, data: bytes, at: int) -> bool:
    """Whether the next event is as predicted, and no byte of it is stored."""
    if at == len(data):
        if codec.trailing >= EVENT_RUN_MAX:
            raise WireError("cut short")
        codec.trailing += 1
        return True
    if not codec.announced and data[at] & _RUN:
        run, _ = get_fixed(data, at + 1, 1)
        if not 0 < run <= EVENT_RUN_MAX:
            raise WireError(f"{run} events as predicted")
        codec.announced = True
        codec.run = run - 1
        return True
    if codec.run:
        codec.run -= 1
        return True
    return False


def events_max(payload_len: int) -> int:
    """How many events a chunk's payload of so many bytes may hold at most."""
    return (payload_len + 1) * (EVENT_RUN_MAX + 1)


def _put_position(codec: Codec, out: bytearray) -> int:
    """Append what is not as expected of a position, and go there; returns the token's bits."""
    now, expected = codec.now, codec.expected
    slot, half = slot_of(now.rip), now.rip >> 63
    site = codec.sites.get(slot)
    bits = 0
    if now.rip == (expected.rip if expected else codec.rip):
        if expected is None or now.branches != expected.branches:
            bits = _BRANCHES
            put_uvarint(out, now.branches)
    elif site is not None and site.rip == now.rip:
        bits = _SLOT
        put_uvarint(out, now.branches)
        out.append(slot)
    else:
        bits = _RIP
        put_uvarint(out, now.branches << 1 | half)
        put_svarint(out, now.rip - codec.half_rip[half])
    codec.enter(now.rip)
    codec.branches += now.branches
    return bits


def _get_position(codec: Codec, token: int, data: bytes, at: int) -> int:
    """Read branches and RIP, and go there; returns the offset after them."""
    now, expected = codec.now, codec.expected
    now.rip = expected.rip if expected else codec.rip
    position = token & _POSITION
    if position:
        now.branches, at = get_uvarint(data, at)
    elif expected is not None:
        now.branches = expected.branches
    else:
        raise WireError("an event without a position")
    if position == _SLOT:
        slot, at = get_fixed(data, at, 1)
        if slot not in codec.sites:
            raise WireError(f"slot {slot} holds no site")
        now.rip = codec.sites[slot].rip
    elif position == _RIP:
        difference, at = get_svarint(data, at)
        now.rip = codec.half_rip[now.branches & 1] + difference & MASK64
        now.branches >>= 1
    codec.enter(now.rip)
    codec.branches += now.branches
    if codec.branches > MASK64:
        raise WireError("branches overflow")
    return at


def _put_check(codec: Codec, event: Event, out: bytearray) -> int:
    """Append what tells the position from others that look alike; returns the token's bits."""
    if event.check is None:
        if event.registers is not None or event.place is not None:
            raise WireError("registers need a check")
        return _NONE if event.asynchronous else 0
    out += event.check.to_bytes(2, "little")
    if event.registers is not None:
        _put_registers(codec, event.registers, out)
        return _FULL
    if not event.asynchronous:
        return _CHECK
    if event.place is None:
        return 0
    resume, rcx = event.place
    out.append((_PLACE_RCX if rcx else 0) | (_PLACE_RF if resume else 0))
    if rcx:
        put_uvarint(out, rcx)
    return _CHECK


def _get_place(data: bytes, at: int) -> tuple[Place, int]:
    flags, at = get_fixed(data, at, 1)
    if flags & ~(_PLACE_RF | _PLACE_RCX):
        raise WireError("unknown flags of a position")
    rcx = 0
    if flags & _PLACE_RCX:
        rcx, at = get_uvarint(data, at)
    return Place(bool(flags & _PLACE_RF), rcx), at


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
