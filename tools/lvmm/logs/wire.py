"""The primitive codings of the log: integers and bytes.

The counterpart of hypervisor/replay/log_wire.h; docs/log-format.md explains both.
"""

from __future__ import annotations

from typing import Protocol

MASK64 = 0xFFFFFFFFFFFFFFFF
ADDRESS_LIMIT = 1 << 56
DATA_MAX = 131072  # EVENT_DATA_MAX of the description, as layout.py imports this module
UVARINT_MAX = 10  # bytes of a 64-bit value


class WireError(ValueError):
    """Bytes that are no event, or an event that the format cannot hold."""


class FieldWriter(Protocol):
    """Appends fields that are told relative to what is expected. Raises WireError."""

    def put_tsc(self, out: bytearray, tsc: int) -> None:
        """A time-stamp."""

    def put_ticks(self, out: bytearray, tsc: int) -> None:
        """A time-stamp in coarse units."""

    def put_vector(self, out: bytearray, vector: int) -> None:
        """One byte."""

    def put_read(self, out: bytearray, address: int, size: int, value: int) -> None:
        """An access and what it read."""

    def put_transfer(self, out: bytearray, number: int, address: int, data: bytes) -> None:
        """A transfer of a DMA stream."""

    def put_frame(self, out: bytearray, data: bytes) -> None:
        """Data like those before."""


class FieldReader(Protocol):
    """Reads them at an offset; each returns the fields, then the offset after. Raises WireError."""

    def get_tsc(self, data: bytes, at: int) -> tuple[int, int]:
        """A time-stamp."""

    def get_ticks(self, data: bytes, at: int) -> tuple[int, int]:
        """A time-stamp in coarse units."""

    def get_vector(self, data: bytes, at: int) -> tuple[int, int]:
        """One byte."""

    def get_read(self, data: bytes, at: int) -> tuple[int, int, int, int]:
        """Address, size and value of an access."""

    def get_transfer(self, data: bytes, at: int) -> tuple[int, int, bytes, int]:
        """Stream, address and data of a transfer."""

    def get_frame(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Data like those before."""


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
    put_uvarint(out, zigzag(difference))


def zigzag(difference: int) -> int:
    """A difference modulo 2^64, as a number that is small for small ones of both signs."""
    value = difference & MASK64
    return (value << 1 & MASK64) ^ (MASK64 if value >> 63 else 0)


def unzigzag(value: int) -> int:
    """The difference, as a signed integer."""
    return value >> 1 ^ -(value & 1)


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
    return unzigzag(value), at


def get_fixed(data: bytes, at: int, size: int) -> tuple[int, int]:
    """Read a little-endian integer of `size` bytes; returns it and the offset after it."""
    end = at + size
    if end > len(data):
        raise WireError("cut short")
    return int.from_bytes(data[at:end], "little"), end


def get_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Read length and bytes; returns the bytes and the offset after them."""
    length, at = get_uvarint(data, at)
    return get_exactly(data, at, length)


def get_exactly(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    """Read so many bytes; returns them and the offset after them."""
    end = at + length
    if length > DATA_MAX:
        raise WireError("data too long")
    if end > len(data):
        raise WireError("cut short")
    return data[at:end], end


def put_changed(out: bytearray, data: bytes, last: bytes | bytearray) -> None:
    """Append up to 8 bytes as a mask of those that differ, and those bytes."""
    changed = [i for i in range(len(data)) if data[i] != last[i]]
    out.append(sum(1 << i for i in changed))
    out += bytes(data[i] for i in changed)


def get_changed(last: bytes | bytearray, data: bytes, at: int) -> tuple[bytes, int]:
    """Read such bytes; returns them, and the offset after them."""
    changed, at = get_fixed(data, at, 1)
    if changed >> len(last):
        raise WireError("a change beyond the data")
    new = bytearray(last)
    for i in range(len(last)):
        if changed >> i & 1:
            new[i], at = get_fixed(data, at, 1)
    return bytes(new), at
