"""Variable-length integers, and the state that predicts fields within a chunk.

The counterpart of hypervisor/replay/log_wire.h; docs/log-format.md explains both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MASK64 = 0xFFFFFFFFFFFFFFFF
ADDRESS_LIMIT = 1 << 56
DATA_MAX = 131072  # EVENT_DATA_MAX of the description, as layout.py imports this module
UVARINT_MAX = 10  # bytes of a 64-bit value
STREAMS = 256
STREAM_SMALL = 8  # data of up to this many bytes is stored as what differs from the stream's last

_OTHER_LENGTH = 1
_OTHER_STEP = 2
_STREAM_SHIFT = 2


class WireError(ValueError):
    """Bytes that are no event, or an event that the format cannot hold."""


class Successor(NamedTuple):
    """What followed an event: kind and ASYNC as in the prefix, branches between, its slot."""

    prefix: int
    branches: int
    slot: int


@dataclass(slots=True)
class Site:
    """What is remembered of one place in the guest's code."""

    rip: int
    access: int
    value: int = 0
    successor: Successor | None = None
    snapshot: list[int] | None = None


@dataclass(slots=True)
class Stream:
    """What is remembered of a DMA stream: its last transfer."""

    end: int = 0
    step: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Codec:
    """State of one chunk's coding; `site` is the site of the last position."""

    branches: int
    rip: int
    tsc: int = 0
    access: int = 0
    last_snapshot: list[int] | None = None
    sites: dict[int, Site] = field(default_factory=dict)
    streams: dict[int, Stream] = field(default_factory=dict)
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        self.site = self.install(self.rip)

    def install(self, rip: int) -> Site:
        """Make the slot of `rip` its site."""
        site = self.sites[slot_of(rip)] = Site(rip, self.access)
        return site


def slot_of(rip: int) -> int:
    """The slot of an address in the table of 256 sites."""
    return (rip * 0x9E3779B97F4A7C15 & MASK64) >> 56


def put_uvarint(out: bytearray, value: int) -> None:
    """Append an unsigned 64-bit integer."""
    if not 0 <= value <= MASK64:
        raise WireError(f"{value} does not fit in 64 bits")
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def put_svarint(out: bytearray, difference: int) -> None:
    """Append a difference modulo 2^64, in zigzag form."""
    value = difference & MASK64
    put_uvarint(out, (value << 1 & MASK64) ^ (MASK64 if value >> 63 else 0))


def get_uvarint(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned integer; returns it and the offset after it."""
    try:
        byte = data[at]
        if byte < 0x80:
            return byte, at + 1
        value = byte & 0x7F
        for shift in range(7, 7 * UVARINT_MAX, 7):
            at += 1
            byte = data[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > MASK64:
                    break
                return value, at + 1
    except IndexError:
        raise WireError("cut short") from None
    raise WireError("integer too large")


def get_svarint(data: bytes, at: int) -> tuple[int, int]:
    """Read a difference, as a signed integer; returns it and the offset after it."""
    value, at = get_uvarint(data, at)
    return value >> 1 ^ -(value & 1), at


def get_fixed(data: bytes, at: int, size: int) -> tuple[int, int]:
    """Read a little-endian integer of `size` bytes; returns it and the offset after it."""
    end = at + size
    if end > len(data):
        raise WireError("cut short")
    return int.from_bytes(data[at:end], "little"), end


def get_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Read length and bytes; returns the bytes and the offset after them."""
    length, at = get_uvarint(data, at)
    return _get_exactly(data, at, length)


def _get_exactly(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    end = at + length
    if length > DATA_MAX:
        raise WireError("data too long")
    if end > len(data):
        raise WireError("cut short")
    return data[at:end], end


def put_read(codec: Codec, out: bytearray, address: int, size: int, value: int) -> None:
    """Append an access and what it read; raises WireError when they do not fit."""
    if size not in (1, 2, 4, 8) or not 0 <= address < ADDRESS_LIMIT:
        raise WireError(f"no access: {size} bytes at {address:#x}")
    site = codec.site
    access = address << 2 | size.bit_length() - 1
    changed = value != site.value
    put_svarint(out, access - site.access << 1 | changed)
    if changed:
        put_uvarint(out, value ^ site.value)
    codec.access = site.access = access
    site.value = value


def get_read(codec: Codec, data: bytes, at: int) -> tuple[int, int, int, int]:
    """Read an access; returns address, size, value, and the offset after it."""
    difference, at = get_svarint(data, at)
    change = 0
    if difference & 1:
        change, at = get_uvarint(data, at)
    site = codec.site
    access = site.access + (difference >> 1) & MASK64
    if access >> 2 >= ADDRESS_LIMIT:
        raise WireError(f"no access at {access >> 2:#x}")
    codec.access = site.access = access
    site.value ^= change
    return access >> 2, 1 << (access & 3), site.value, at


def put_transfer(codec: Codec, out: bytearray, number: int, address: int, data: bytes) -> None:
    """Append a transfer of a DMA stream."""
    if not 0 <= number < STREAMS or len(data) > DATA_MAX:
        raise WireError(f"no transfer: {len(data)} bytes of stream {number}")
    stream = codec.streams.setdefault(number, Stream())
    step = address - stream.end & MASK64
    other_step = step != stream.step
    other_length = len(data) != len(stream.data)
    put_uvarint(out, number << _STREAM_SHIFT | other_step << 1 | other_length)
    if other_step:
        put_svarint(out, step)
    if other_length:
        put_uvarint(out, len(data))
    if other_length or len(data) > STREAM_SMALL:
        out += data
    else:
        changed = [i for i in range(len(data)) if data[i] != stream.data[i]]
        out.append(sum(1 << i for i in changed))
        out += bytes(data[i] for i in changed)
    stream.step = step
    stream.end = address + len(data) & MASK64
    stream.data = data


def get_transfer(codec: Codec, data: bytes, at: int) -> tuple[int, int, bytes, int]:
    """Read a transfer; returns stream, address, data, and the offset after it."""
    head, at = get_uvarint(data, at)
    number = head >> _STREAM_SHIFT
    if number >= STREAMS:
        raise WireError(f"no stream {number}")
    stream = codec.streams.setdefault(number, Stream())
    if head & _OTHER_STEP:
        step, at = get_svarint(data, at)
        stream.step = step & MASK64
    if head & _OTHER_LENGTH or len(stream.data) > STREAM_SMALL:
        length = len(stream.data)
        if head & _OTHER_LENGTH:
            length, at = get_uvarint(data, at)
        stream.data, at = _get_exactly(data, at, length)
    else:
        stream.data, at = _get_changed(stream.data, data, at)
    address = stream.end + stream.step & MASK64
    stream.end = address + len(stream.data) & MASK64
    return number, address, stream.data, at


def _get_changed(last: bytes, data: bytes, at: int) -> tuple[bytes, int]:
    changed, at = get_fixed(data, at, 1)
    if changed >> len(last):
        raise WireError("a change beyond the data")
    new = bytearray(last)
    for i in range(len(last)):
        if changed >> i & 1:
            new[i], at = get_fixed(data, at, 1)
    return bytes(new), at
