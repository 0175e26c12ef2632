"""How transfers are stored: what devices wrote into guest memory.

The counterpart of hypervisor/replay/log_transfer.h; docs/log-format.md explains both.
"""

from __future__ import annotations

from dataclasses import dataclass

from lvmm.logs.wire import (
    DATA_MAX,
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
)

_STREAMS = 256
_SMALL = 8  # data of up to this many bytes is stored as what differs from the stream's last
_RUN_MAX = 32

# A transfer's head: what of it is not as expected, and what comes behind it.
_LENGTH, _STEP, _BACK, _STREAM, _CHANGED, _RUN, _MORE = (1 << bit for bit in range(7))
_FLAGS = 0x7F


@dataclass(slots=True)
class Stream:
    """What is remembered of a DMA stream: its last transfer."""

    next: int  # the stream of the transfer that followed at the same position
    end: int = 0
    step: int = 0
    step_before: int = 0
    length: int = 0
    small: bytes = bytes(_SMALL)  # the last data that was not longer, with zeros behind it

    def moved(self, step: int, length: int) -> int:
        """Make a transfer the last one; returns its address."""
        if step != self.step:
            self.step_before, self.step = self.step, step
        address = self.end + step & MASK64
        self.end = address + length & MASK64
        self.length = length
        return address


class Transfers:
    """The streams of a chunk, and the last event, if it is a transfer.

    Others at its position may follow it without a token. Writing: `head` is where its head is;
    None: the last event is no transfer. Reading: `follows`: the next event is such a one.
    """

    def __init__(self) -> None:
        """Nothing known."""
        self.head: int | None = None
        self._count: int | None = None  # writing: where the number of those as expected is
        self._run = 0  # reading: those as expected that are still due;
        self._more = False  # then one that is stored
        self._number = 0
        self._streams: dict[int, Stream] = {}

    @property
    def follows(self) -> bool:
        return self._run > 0 or self._more

    def put(
        self, out: bytearray, expected: int | None, number: int, address: int, data: bytes
    ) -> None:
        """Append a transfer of the stream `number`, where `expected` is expected."""
        if not 0 <= number < _STREAMS or len(data) > DATA_MAX:
            raise WireError(f"no transfer: {len(data)} bytes of stream {number}")
        stream = self._stream(number)
        step = address - stream.end & MASK64
        small = data + bytes(_SMALL - len(data)) if len(data) <= _SMALL else None
        flags = 0
        fields = bytearray()
        if expected != number:
            flags |= _STREAM
            fields.append(number)
        if step != stream.step:
            flags |= _BACK if step == stream.step_before else _STEP
        if flags & _STEP:
            put_svarint(fields, step)
        if len(data) != stream.length:
            flags |= _LENGTH
            put_uvarint(fields, len(data))
        if small is None or flags & _LENGTH:
            fields += data
        elif small != stream.small:
            flags |= _CHANGED
            put_changed(fields, small, stream.small)
        self.head, self._count = len(out), None
        out.append(flags)
        out += fields
        self._number = number
        stream.small = stream.small if small is None else small
        stream.moved(step, len(data))

    def put_next(self, out: bytearray, number: int, address: int, data: bytes) -> None:
        """Append one at the position of the last event, which was one, too, in `out`."""
        assert self.head is not None
        if self._is_expected(number, address, data):
            if self._count is None:
                out[self.head] |= _RUN
                self._count = len(out)
                out.append(0)
            if out[self._count] < _RUN_MAX:
                out[self._count] += 1
                self._stream(number).moved(self._stream(number).step, len(data))
                return
        out[self.head] |= _MORE
        last = self._stream(self._number)
        self.put(out, last.next, number, address, data)
        last.next = number

    def get(self, data: bytes, at: int, expected: int | None) -> tuple[int, int, bytes, int]:
        """Read a transfer: its stream, address, data, and the offset after it."""
        head, at = get_fixed(data, at, 1)
        if head & ~_FLAGS:
            raise WireError("unknown flags of a transfer")
        if head & _STREAM:
            number, at = get_fixed(data, at, 1)
        elif expected is None:
            raise WireError("a transfer of no stream")
        else:
            number = expected
        stream = self._stream(number)
        step = stream.step_before if head & _BACK else stream.step
        length = stream.length
        if head & _STEP:
            step, at = get_svarint(data, at)
        if head & _LENGTH:
            length, at = get_uvarint(data, at)
        if length > _SMALL or head & _LENGTH:
            content, at = get_exactly(data, at, length)
        else:
            content = stream.small[:length]
            if head & _CHANGED:
                content, at = get_changed(content, data, at)
        if length <= _SMALL:
            kept = b"" if head & _LENGTH else stream.small[length:]
            stream.small = (content + kept).ljust(_SMALL, b"\0")
        self._run = 0
        if head & _RUN:
            self._run, at = get_fixed(data, at, 1)
            if not 0 < self._run <= _RUN_MAX or length > _SMALL:
                raise WireError(f"{self._run} transfers of {length} bytes as expected")
        self._more = bool(head & _MORE)
        self._number = number
        return number, stream.moved(step & MASK64, length), content, at

    def get_next(self, data: bytes, at: int) -> tuple[int, int, bytes, int]:
        """Read the one that follows the last event."""
        last = self._stream(self._number)
        if self._run:
            self._run -= 1
            address = last.moved(last.step, last.length)
            return self._number, address, last.small[: last.length], at
        found = self.get(data, at, last.next)
        last.next = found[0]
        return found

    def _is_expected(self, number: int, address: int, data: bytes) -> bool:
        stream = self._stream(number)
        return (
            number == self._number
            and len(data) == stream.length <= _SMALL
            and address - stream.end & MASK64 == stream.step
            and data == stream.small[: len(data)]
        )

    def _stream(self, number: int) -> Stream:
        return self._streams.setdefault(number, Stream(number))
