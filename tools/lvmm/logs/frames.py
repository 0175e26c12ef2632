"""The frames that a guest received and sent, cut out of the DMA and SENT events of its recording.

    cutter = FrameCutter(recording.header.dma_streams)
    for frame in cutter.frames(GuestClock(...).timed(recording.events())):
        print(frame.device.name, frame.inbound, frame.data.hex())

The recording header says which stream is what, so nothing here knows a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lvmm.logs.codec import Event
from lvmm.logs.guest_time import TimedEvent
from lvmm.logs.layout import (
    Dma,
    DmaDirection,
    DmaStream,
    Sent,
    SentFlag,
    StreamContent,
)

_FRAMES = (StreamContent.PAYLOAD, StreamContent.DESCRIPTORS)


@dataclass(frozen=True)
class Device:
    """A PCI device whose DMA was recorded. `keeps_sent`: what it was given to send, too."""

    pci_address: int
    vendor: int
    device: int
    profile: str
    keeps_sent: bool

    @property
    def name(self) -> str:
        """Profile and place on the bus: `e1000 00:03.0`."""
        slot = f"{self.pci_address >> 3 & 31:02x}.{self.pci_address & 7}"
        return f"{self.profile} {self.pci_address >> 8:02x}:{slot}"

    @property
    def identity(self) -> str:
        """The PCI IDs: `8086:100e`."""
        return f"{self.vendor:04x}:{self.device:04x}"


@dataclass(frozen=True)
class Frame:
    """A frame as it was in guest memory, without CRC.

    `length` is what the device reported or was given, in bytes; `data` is less where the rest was
    not kept or is not RAM. `first_event` and `last_event` are numbers of events. `seconds` is guest
    time, when it was complete in memory, or all of it was given to the device. `segmented`: the
    device made several packets of it.
    """

    device: Device
    ring: str
    inbound: bool
    data: bytes
    length: int
    first_event: int
    last_event: int
    seconds: float
    segmented: bool = False


@dataclass
class _Parts:
    """A frame that is not complete yet. After a part without all its data nothing is added."""

    first_event: int
    data: bytearray = field(default_factory=bytearray)
    length: int = 0
    cut: bool = False
    segmented: bool = False

    def add(self, data: bytes, length: int) -> None:
        if not self.cut:
            self.data += data[:length]
        self.cut = self.cut or len(data) < length
        self.length += length


class _RxRing:
    """Received frames: each descriptor that is written back follows its payload, if it has any."""

    def __init__(self, device: Device, descriptors: DmaStream) -> None:
        self.lost = 0
        self._device = device
        self._stream = descriptors
        self._ring = _text(descriptors.ring)
        self._parts: _Parts | None = None
        self._payload: Event | None = None
        self._crc_length = 0
        self._headless = False  # the beginning of the frame is lost
        self._counted = False  # in `lost`, already

    def gap(self) -> None:
        """Events are lost here."""
        begun = self._parts is not None or self._payload is not None
        self.lost += begun and not self._counted
        self._counted = self._counted or begun
        self._parts = self._payload = None
        self._headless = True

    def end(self) -> None:
        """The log ends here."""
        begun = self._parts is not None or self._payload is not None
        self.lost += begun and not self._counted

    def payload(self, event: Event, stream: DmaStream) -> None:
        """Bytes were stored in a buffer."""
        self._payload = event
        self._crc_length = stream.crc_length
        if stream.continues:
            self._headless = self._parts is None
        else:
            self._parts = None  # one that has begun was given up
            self._headless = self._counted = False

    def write_back(self, timed: TimedEvent, descriptor: bytes) -> Frame | None:
        """A descriptor was written back; returns the frame that is complete with it."""
        stream, event = self._stream, timed.event
        payload, self._payload = self._payload, None
        length = self._field(descriptor, stream.length_offset, stream.length_width)
        ends = not stream.end_mask
        ends = ends or bool(self._field(descriptor, stream.end_offset, 1) & stream.end_mask)
        if self._headless:
            self.lost += ends and not self._counted
            self._counted = self._counted and not ends
            return None
        if payload is None and not ends:
            return None  # the device skipped a descriptor without a buffer
        if self._parts is None:
            self._parts = _Parts((payload or event).index)
        data = payload.payload.data if payload and isinstance(payload.payload, Dma) else b""
        self._parts.add(data, length if stream.length_width else len(data))
        if not ends:
            return None
        parts, self._parts = self._parts, None
        length = max(parts.length - self._crc_length, 0)
        data = bytes(parts.data[:length])
        numbers = (parts.first_event, event.index)
        return Frame(self._device, self._ring, True, data, length, *numbers, timed.seconds)

    def _field(self, descriptor: bytes, offset: int, width: int) -> int:
        """A field of the descriptor, of which only the written bytes are known; 0 elsewhere."""
        at = offset - self._stream.write_back_offset
        return int.from_bytes(descriptor[at : at + width], "little") if at >= 0 else 0


class _TxRing:
    """Sent frames: their parts say where they begin and end."""

    def __init__(self, device: Device, payload: DmaStream) -> None:
        self.lost = 0
        self._device = device
        self._ring = _text(payload.ring)
        self._parts: _Parts | None = None
        self._counted = False  # in `lost`, already

    def gap(self) -> None:
        """Events are lost here."""
        self.lost += self._parts is not None
        self._counted = self._counted or self._parts is not None
        self._parts = None

    def end(self) -> None:
        """The log ends here."""
        self.lost += self._parts is not None

    def sent(self, timed: TimedEvent, part: Sent) -> Frame | None:
        """A part was given to the device; returns the frame that is complete with it."""
        if part.flags & SentFlag.FIRST:
            self._parts = _Parts(timed.event.index)  # one that has begun was given up
            self._counted = False
        parts = self._parts
        last = bool(part.flags & SentFlag.LAST)
        if parts is None:
            self.lost += last and not self._counted
            self._counted = self._counted and not last
            return None
        parts.add(part.data, part.length)
        parts.segmented |= bool(part.flags & SentFlag.SEGMENTED)
        if not last:
            return None
        self._parts = None
        return Frame(
            self._device,
            self._ring,
            False,
            bytes(parts.data),
            parts.length,
            parts.first_event,
            timed.event.index,
            timed.seconds,
            parts.segmented,
        )


class FrameCutter:
    """Cuts frames out of events. `streams` are those of the recording header."""

    def __init__(self, streams: Iterable[DmaStream]) -> None:
        self._streams = {stream.stream: stream for stream in streams if stream.content in _FRAMES}
        self.devices = _devices(self._streams.values())
        by_address = {device.pci_address: device for device in self.devices}
        self._rx: dict[tuple[int, int], _RxRing] = {}
        self._tx: dict[int, _TxRing] = {}
        for stream in self._streams.values():
            device = by_address[stream.pci_address]
            if stream.direction == DmaDirection.TX:
                if stream.content == StreamContent.PAYLOAD:
                    self._tx[stream.stream] = _TxRing(device, stream)
            elif stream.content == StreamContent.DESCRIPTORS:
                self._rx[_ring_of(stream)] = _RxRing(device, stream)
        self._next_index = 0

    @property
    def lost(self) -> int:
        """Frames left out because a part of them is not in the log.

        Frames of which no event is left are not counted: nothing is known of them.
        """
        received = sum(ring.lost for ring in self._rx.values())
        return received + sum(ring.lost for ring in self._tx.values())

    def frames(self, events: Iterable[TimedEvent]) -> Iterator[Frame]:
        """Yield the frames in the order in which they were complete."""
        rings: list[_RxRing | _TxRing] = [*self._rx.values(), *self._tx.values()]
        for timed in events:
            if timed.event.index != self._next_index:
                for ring in rings:
                    ring.gap()
            self._next_index = timed.event.index + 1
            frame = self._take(timed)
            if frame is not None:
                yield frame
        for ring in rings:
            ring.end()

    def _take(self, timed: TimedEvent) -> Frame | None:
        payload = timed.event.payload
        if isinstance(payload, Sent) and payload.stream in self._tx:
            return self._tx[payload.stream].sent(timed, payload)
        if not isinstance(payload, Dma) or payload.stream not in self._streams:
            return None
        stream = self._streams[payload.stream]
        ring = self._rx.get(_ring_of(stream))
        if ring is None:
            return None
        if stream.content == StreamContent.DESCRIPTORS:
            return ring.write_back(timed, payload.data)
        ring.payload(timed.event, stream)
        return None


def _ring_of(stream: DmaStream) -> tuple[int, int]:
    return stream.pci_address, stream.ring_index


def _devices(all_streams: Iterable[DmaStream]) -> list[Device]:
    """The devices that have these streams, in their order."""
    by_address: dict[int, list[DmaStream]] = {}
    for stream in all_streams:
        by_address.setdefault(stream.pci_address, []).append(stream)
    return [
        Device(
            address,
            streams[0].vendor,
            streams[0].device,
            _text(streams[0].profile),
            any(stream.direction == DmaDirection.TX and stream.frame_max for stream in streams),
        )
        for address, streams in by_address.items()
    ]


def _text(name: tuple[int, ...]) -> str:
    return bytes(name).rstrip(b"\0").decode("utf-8", "replace")
