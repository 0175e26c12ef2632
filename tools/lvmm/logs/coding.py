"""The state of a chunk's coding, and the fields that are told relative to what is expected.

The counterpart of hypervisor/replay/log_state.h and log_fields.h; docs/log-format.md explains them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.logs.prediction import Fact, Predictor
from lvmm.logs.transfers import Transfers
from lvmm.logs.wire import (
    ADDRESS_LIMIT,
    MASK64,
    WireError,
    get_changed,
    get_exactly,
    get_fixed,
    get_svarint,
    get_uvarint,
    put_changed,
    put_svarint,
    put_uvarint,
    unzigzag,
    zigzag,
)

_FRAME_SMALL = 128
_TICKS_PER_BRANCH = 6
_TICKS_SHIFT = 8
_OTHER_ACCESS = 1


@dataclass(slots=True)
class Site:
    """What is remembered of one place in the guest's code.

    `unchecked`: its last asynchronous event had no check.
    """

    rip: int
    access: int
    value: int = 0
    unchecked: bool = False
    snapshot: list[int] | None = None


class Codec:
    """State of one chunk's coding.

    `site` is that of the last position. `now` is the event at hand, told relative to `expected`;
    `stored`: its payload is stored. `run`: events as predicted that are pending, or still due.
    """

    def __init__(self, branches: int, rip: int) -> None:
        """A chunk that begins at this position."""
        self.branches = branches
        self.predictor = Predictor()
        self.now = Fact()
        self.expected: Fact | None = None
        self.stored = True
        self.run = 0
        self.announced = False
        self.trailing = 0
        self.sites: dict[int, Site] = {}
        self.last_snapshot: list[int] | None = None
        self.half_rip = [rip, rip]
        self._tsc = 0
        self._access = 0
        self.transfers = Transfers()
        self._frame = bytearray(_FRAME_SMALL)
        self.enter(rip)

    @property
    def rip(self) -> int:
        """The last position's."""
        return self.site.rip

    def enter(self, rip: int) -> None:
        """Make the place the last position's; its slot may have been another's."""
        slot = slot_of(rip)
        site = self.sites.get(slot)
        if site is None or site.rip != rip:
            site = self.sites[slot] = Site(rip, self._access)
        self.site = site
        self.half_rip[rip >> 63] = rip

    def put_tsc(self, out: bytearray, tsc: int) -> None:
        """See FieldWriter."""
        difference = tsc - self._tsc & MASK64
        self._put_difference(out, difference, self._expected_ticks())
        self._tsc = tsc

    def get_tsc(self, data: bytes, at: int) -> tuple[int, int]:
        """See FieldReader."""
        at = self._get_difference(data, at, self._expected_ticks())
        self._tsc = self._tsc + self.now.value & MASK64
        return self._tsc, at

    def put_ticks(self, out: bytearray, tsc: int) -> None:
        """See FieldWriter."""
        if tsc & (1 << _TICKS_SHIFT) - 1:
            raise WireError(f"{tsc} is not a multiple of {1 << _TICKS_SHIFT}")
        difference = (tsc >> _TICKS_SHIFT) - (self._tsc >> _TICKS_SHIFT) & MASK64
        self._put_difference(out, difference, self.expected.value if self.expected else 0)
        self._tsc = tsc

    def get_ticks(self, data: bytes, at: int) -> tuple[int, int]:
        """See FieldReader."""
        at = self._get_difference(data, at, self.expected.value if self.expected else 0)
        self._tsc = (self._tsc >> _TICKS_SHIFT) + self.now.value << _TICKS_SHIFT & MASK64
        return self._tsc, at

    def put_vector(self, out: bytearray, vector: int) -> None:
        """See FieldWriter."""
        if not 0 <= vector <= 0xFF:
            raise WireError(f"no vector: {vector}")
        self.now.sub = vector
        if self.expected is None or self.expected.sub != vector:
            out.append(vector)

    def get_vector(self, data: bytes, at: int) -> tuple[int, int]:
        """See FieldReader."""
        vector = self.expected.sub if self.expected else 0
        if self.stored:
            vector, at = get_fixed(data, at, 1)
        self.now.sub = vector
        return vector, at

    def put_read(self, out: bytearray, address: int, size: int, value: int) -> None:
        """See FieldWriter."""
        if size not in (1, 2, 4, 8) or not 0 <= address < ADDRESS_LIMIT or not 0 <= value <= MASK64:
            raise WireError(f"no access: {value:#x}, {size} bytes at {address:#x}")
        access = address << 2 | size.bit_length() - 1
        last = self.expected or self.site
        last_access, change = last.access, zigzag(value - last.value)
        self.remember_read(access, value)
        if access != last_access or change >> 63:
            put_uvarint(out, zigzag(access - last_access) << 1 | _OTHER_ACCESS)
            put_uvarint(out, change)
        elif self.expected is None or change:
            put_uvarint(out, change << 1)

    def get_read(self, data: bytes, at: int) -> tuple[int, int, int, int]:
        """See FieldReader."""
        first = change = 0
        if self.stored:
            first, at = get_uvarint(data, at)
            change = first >> 1
        last = self.expected or self.site
        access = last.access
        if first & _OTHER_ACCESS:
            access = access + unzigzag(first >> 1) & MASK64
            change, at = get_uvarint(data, at)
        if access >> 2 >= ADDRESS_LIMIT:
            raise WireError(f"no access at {access >> 2:#x}")
        value = last.value + unzigzag(change) & MASK64
        self.remember_read(access, value)
        return access >> 2, 1 << (access & 3), value, at

    def put_frame(self, out: bytearray, data: bytes) -> None:
        """See FieldWriter."""
        put_uvarint(out, len(data))
        if len(data) > _FRAME_SMALL:
            out += data
            return
        for at in range(0, len(data), 8):
            part = data[at : at + 8]
            put_changed(out, part, self._frame[at : at + len(part)])
        self._frame[: len(data)] = data

    def get_frame(self, data: bytes, at: int) -> tuple[bytes, int]:
        """See FieldReader."""
        length, at = get_uvarint(data, at)
        if length > _FRAME_SMALL:
            return get_exactly(data, at, length)
        for start in range(0, length, 8):
            end = min(start + 8, length)
            self._frame[start:end], at = get_changed(self._frame[start:end], data, at)
        return bytes(self._frame[:length]), at

    def put_transfer(self, out: bytearray, number: int, address: int, data: bytes) -> None:
        """See FieldWriter. The first of its position."""
        expected = self.expected.sub if self.expected else None
        self.transfers.put(out, expected, number, address, data)
        self.now.sub = number

    def get_transfer(self, data: bytes, at: int) -> tuple[int, int, bytes, int]:
        """See FieldReader. The first of its position."""
        if not self.stored:
            raise WireError("a transfer without its head")
        expected = self.expected.sub if self.expected else None
        number, address, content, at = self.transfers.get(data, at, expected)
        self.now.sub = number
        return number, address, content, at

    def _expected_ticks(self) -> int:
        """The difference to the last time that is expected."""
        branches = self.now.branches
        if self.expected is None:
            return branches * _TICKS_PER_BRANCH
        return self.expected.value + (branches - self.expected.branches) * _TICKS_PER_BRANCH

    def _put_difference(self, out: bytearray, difference: int, expected: int) -> None:
        self.now.value = difference
        error = difference - expected & MASK64
        if self.expected is None or error:
            put_svarint(out, error)

    def _get_difference(self, data: bytes, at: int, expected: int) -> int:
        error = 0
        if self.stored:
            error, at = get_svarint(data, at)
        self.now.value = error + expected & MASK64
        return at

    def remember_read(self, access: int, value: int) -> None:
        """The event at hand is this read."""
        self.now.access = self._access = self.site.access = access
        self.now.value = self.site.value = value


def slot_of(rip: int) -> int:
    """The slot of an address in the table of 256 sites."""
    return (rip * 0x9E3779B97F4A7C15 & MASK64) >> 56
