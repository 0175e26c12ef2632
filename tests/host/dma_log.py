"""A log of what the DMA engine tells on the host, as the monitor would write it."""

from __future__ import annotations

from dataclasses import replace

from tests.host.dma_machine import Machine
from tests.host.dma_world import TOLD_WRITE, Told
from tests.host.log_driver import HEADER, RECORDING_ID, dma_stream

from lvmm.logs import layout
from lvmm.logs.codec import Event
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import DmaDirection, DmaStream, StreamContent
from lvmm.logs.writer import LogWriter

TICKS = 5120  # between two transfers, a multiple of 256


def e1000_streams(sent_max: int, first: int = 0) -> list[DmaStream]:
    """What the monitor says of the rings of boards/profiles/e1000.toml; `first`: its numbers'."""
    rx, tx = DmaDirection.RX, DmaDirection.TX
    payload, descriptors = StreamContent.PAYLOAD, StreamContent.DESCRIPTORS
    both = {"descriptor_size": 16, "done_offset": 12, "done_mask": 1}
    of_rx = {**both, "write_back_offset": 8, "write_back_width": 8}
    of_rx |= {"length_offset": 8, "length_width": 2, "end_offset": 12, "end_mask": 2}
    of_tx = {**both, "write_back_offset": 12, "write_back_width": 4, "ring_index": 1}
    streams = [
        dma_stream("rx", 0, descriptors, rx, **of_rx),
        dma_stream("rx", 1, payload, rx),
        dma_stream("rx", 2, payload, rx, continues=1),
        dma_stream("rx", 3, payload, rx, crc_length=4),
        dma_stream("rx", 4, payload, rx, crc_length=4, continues=1),
        dma_stream("tx", 5, descriptors, tx, **of_tx),
        dma_stream("tx", 6, payload, tx, ring_index=1, frame_max=sent_max),
    ]
    return [replace(stream, stream=first + stream.stream) for stream in streams]


class DmaLog:
    """Collects what the engine tells; the guest runs on between two calls of take()."""

    def __init__(self, machine: Machine, sent_max: int) -> None:
        self._machine = machine
        self._exits = 0
        self.events: list[Event] = []
        self.header: RecordingHeader = replace(HEADER, dma_streams=e1000_streams(sent_max))

    def take(self) -> None:
        """What the engine told since the last call, at one position, and the time."""
        payloads: list[layout.Payload] = [_payload(told) for told in self._machine.told()]
        if not payloads:
            return
        self._exits += 1
        start_tsc = self.header.machine.start_tsc
        payloads.append(layout.Time(start_tsc + TICKS * self._exits))
        for number, payload in enumerate(payloads):
            event = Event(payload, 100 * self._exits, 0x1000)
            event.asynchronous = isinstance(payload, layout.Dma)
            event.same_position = number > 0
            event.check = None if number else 0
            self.events.append(event)

    def log(self, events_per_chunk: int = 0) -> bytes:
        """The log with its chunks closed; 0: chunks as long as they get."""
        writer = LogWriter(RECORDING_ID, self.header)
        for number, event in enumerate(self.events, 1):
            writer.write(event)
            if events_per_chunk and number % events_per_chunk == 0:
                writer.flush()
        writer.flush()
        return bytes(writer.data)


def _payload(told: Told) -> layout.Payload:
    if told.kind == TOLD_WRITE:
        return layout.Dma(told.stream, told.gpa, told.data)
    return layout.Sent(told.stream, told.flags, told.length, told.data)
