"""Events, and how they are stored in a chunk.

The counterpart of hypervisor/replay/log_codec.c; docs/log-format.md explains both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from lvmm.logs.coding import Codec, slot_of
from lvmm.logs.event import GPR_NAMES, Event, Place, Registers
from lvmm.logs.layout import EVENT_RUN_MAX, NOTES, PAYLOADS, ChunkHeader, Dma
from lvmm.logs.old_codec import OLD_VERSIONS, Decoder, old_decoder
from lvmm.logs.prediction import ASYNC, PREDICTIONS, SAME, Fact
from lvmm.logs.token import (
    BRANCHES,
    RIP,
    SLOT,
    Head,
    Regs,
    get_head,
    may_be_unstored,
    put_head,
    usual_regs,
)
from lvmm.logs.version5 import VERSION_5, Codec5, get_head_5
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

# Reads the first bytes of an event, as get_head().
HeadReader = Callable[[Codec, bytes, int], tuple[Head, int]]

_KIND = 0x1F  # of a prefix
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
    source = predictor.best(codec.now)
    codec.expected = predictor.expected[source] if source < PREDICTIONS else None
    fields = bytearray()
    position = 0
    if not known:
        position = _put_position(codec, fields)
        _put_check(codec, event, fields)
    before = len(fields)
    transfers.head = None
    event.payload.encode(codec, fields)
    head = Head(source, position, len(fields) > before, _regs_of(event))
    if not fields and may_be_unstored(codec, head):
        codec.run += 1
    else:
        put_head(codec, head, out)
        if transfers.head is not None:
            transfers.head += len(out)
        out += fields
    if event.asynchronous and not known:
        codec.site.unchecked = event.check is None
    predictor.learn(codec.now, event.kind in NOTES)


def decode_event(
    codec: Codec, data: bytes, at: int, get_head: HeadReader = get_head
) -> tuple[Event, int]:
    """Read the event at offset `at`; returns it and the offset after it. Raises WireError.

    Behind the data's end come those that were as predicted: the chunk's header says how many.
    """
    if codec.transfers.follows:
        return _get_next_transfer(codec, data, at)
    codec.predictor.predict()
    head, at = get_head(codec, data, at)
    prefix = codec.now.prefix
    codec.now.rip = codec.rip
    codec.stored = head.payload
    payload_type = PAYLOADS.get(prefix & _KIND)
    if payload_type is None or prefix >> 7:
        raise WireError(f"unknown event kind {prefix:#x}")
    asynchronous, same_position = bool(prefix & ASYNC), bool(prefix & SAME)
    check = registers = place = None
    if same_position and (head.position or head.regs):
        raise WireError("flags at an event that cannot have them")
    if not same_position:
        at = _get_position(codec, head.position, data, at)
        regs = usual_regs(codec, prefix) if head.regs is None else head.regs
        if regs != Regs.NONE:
            check, at = get_fixed(data, at, 2)
        if regs == Regs.FULL:
            registers, at = _get_registers(codec, data, at)
        elif regs == Regs.PLACE:
            place, at = _get_place(data, at)
        if asynchronous:
            codec.site.unchecked = regs == Regs.NONE
        elif regs == Regs.PLACE:
            raise WireError("a place of an event that is not asynchronous")
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
    decode: Decoder
    if header.format_version in OLD_VERSIONS:
        decode = old_decoder(*start)
    elif header.format_version == VERSION_5:
        decode = functools.partial(decode_event, Codec5(*start), get_head=get_head_5)
    else:
        decode = functools.partial(decode_event, Codec(*start))
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


def events_max(payload_len: int) -> int:
    """How many events a chunk's payload of so many bytes may hold at most."""
    return (payload_len + 1) * (EVENT_RUN_MAX + 1)


def _put_position(codec: Codec, out: bytearray) -> int:
    """Append what is not as expected of a position, and go there; returns what follows of it."""
    now, expected = codec.now, codec.expected
    slot, half = slot_of(now.rip), now.rip >> 63
    site = codec.sites.get(slot)
    bits = 0
    if now.rip == (expected.rip if expected else codec.rip):
        if expected is None or now.branches != expected.branches:
            bits = BRANCHES
            put_uvarint(out, now.branches)
    elif site is not None and site.rip == now.rip:
        bits = SLOT
        put_uvarint(out, now.branches)
        out.append(slot)
    else:
        bits = RIP
        put_uvarint(out, now.branches << 1 | half)
        put_svarint(out, now.rip - codec.half_rip[half])
    codec.enter(now.rip)
    codec.branches += now.branches
    return bits


def _get_position(codec: Codec, position: int, data: bytes, at: int) -> int:
    """Read branches and RIP, and go there; returns the offset after them."""
    now, expected = codec.now, codec.expected
    now.rip = expected.rip if expected else codec.rip
    if position:
        now.branches, at = get_uvarint(data, at)
    elif expected is not None:
        now.branches = expected.branches
    else:
        raise WireError("an event without a position")
    if position == SLOT:
        slot, at = get_fixed(data, at, 1)
        if slot not in codec.sites:
            raise WireError(f"slot {slot} holds no site")
        now.rip = codec.sites[slot].rip
    elif position == RIP:
        difference, at = get_svarint(data, at)
        now.rip = codec.half_rip[now.branches & 1] + difference & MASK64
        now.branches >>= 1
    codec.enter(now.rip)
    codec.branches += now.branches
    if codec.branches > MASK64:
        raise WireError("branches overflow")
    return at


def _regs_of(event: Event) -> Regs:
    """What of check and registers an event has; raises WireError for what cannot be stored."""
    if event.same_position:
        return Regs.NONE
    if event.check is None:
        if event.registers is not None or event.place is not None:
            raise WireError("registers need a check")
        return Regs.NONE
    if event.registers is not None:
        return Regs.FULL
    return Regs.PLACE if event.asynchronous and event.place is not None else Regs.CHECK


def _put_check(codec: Codec, event: Event, out: bytearray) -> None:
    """Append what tells the position from others that look alike."""
    if event.check is None:
        return
    out += event.check.to_bytes(2, "little")
    if event.registers is not None:
        _put_registers(codec, event.registers, out)
    elif event.asynchronous and event.place is not None:
        resume, rcx = event.place
        out.append((_PLACE_RCX if rcx else 0) | (_PLACE_RF if resume else 0))
        if rcx:
            put_uvarint(out, rcx)


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
