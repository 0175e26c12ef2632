"""A trace that Perfetto opens: a track for each lane and name, an event for each mark.

Perfetto's synthetic TrackEvents (perfetto/trace/track_event). Needs the Python package perfetto.
"""

from __future__ import annotations

from typing import IO, Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackDescriptor, TrackEvent
from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

from lvmm.timeline.marks import Lane, TimelineMark

_SEQUENCE = 1
_ROOT = 1  # uuids of tracks count from here
_NS = 1e9


class TraceWriter:
    """Writes marks as they come; nothing of them is kept."""

    def __init__(self, file: IO[bytes], title: str) -> None:
        self._builder = StreamingTraceProtoBuilder(file)
        self._tracks: dict[tuple[Lane, str], int] = {}
        self._last_uuid = _ROOT
        self._totals: dict[int, float] = {}
        root = self._builder.create_packet()
        root.track_descriptor.uuid = _ROOT
        root.track_descriptor.process.pid = 1
        root.track_descriptor.process.process_name = title
        root.track_descriptor.child_ordering = TrackDescriptor.EXPLICIT
        self._builder.write_packet(root)
        self._lanes = {
            lane: self._new_track(_ROOT, lane.value, rank) for rank, lane in enumerate(Lane)
        }
        self._bytes = self._new_track(_ROOT, "DMA bytes", len(Lane), counter=True)
        self._dma_bytes = 0

    def add(self, mark: TimelineMark) -> None:
        """Writes a mark."""
        track = self._track(mark.lane, mark.name)
        at = round(mark.seconds * _NS)
        if mark.lane is Lane.IDLE:
            self._event(
                track, round((mark.seconds - mark.amount) * _NS), mark, TrackEvent.TYPE_SLICE_BEGIN
            )
            self._event(track, at, mark, TrackEvent.TYPE_SLICE_END)
            return
        self._event(track, at, mark, TrackEvent.TYPE_INSTANT)
        if mark.lane is Lane.DMA:
            self._dma_bytes += int(mark.amount)
            packet = self._packet(at)
            packet.track_event.type = TrackEvent.TYPE_COUNTER
            packet.track_event.track_uuid = self._bytes
            packet.track_event.counter_value = self._dma_bytes
            self._builder.write_packet(packet)

    def _track(self, lane: Lane, name: str) -> int:
        key = (lane, name)
        if key not in self._tracks:
            self._tracks[key] = self._new_track(self._lanes[lane], name, 0)
        return self._tracks[key]

    def _new_track(self, parent: int, name: str, rank: int, *, counter: bool = False) -> int:
        self._last_uuid += 1
        packet = self._builder.create_packet()
        descriptor = packet.track_descriptor
        descriptor.uuid = self._last_uuid
        descriptor.parent_uuid = parent
        descriptor.name = name
        descriptor.sibling_order_rank = rank
        if counter:
            descriptor.counter.unit_name = "bytes"
        self._builder.write_packet(packet)
        return self._last_uuid

    def _event(self, track: int, at: int, mark: TimelineMark, kind: int) -> None:
        packet = self._packet(at)
        event = packet.track_event
        event.type = kind
        event.track_uuid = track
        if kind != TrackEvent.TYPE_SLICE_END:
            event.name = mark.label or mark.name
            _annotate(event, "event", mark.event.index)
            _annotate(event, "branches", mark.event.branches)
            _annotate(event, "rip", mark.event.rip, pointer=True)
            if mark.lane in (Lane.DMA, Lane.CONSOLE):
                _annotate(event, "bytes", int(mark.amount))
        self._builder.write_packet(packet)

    def _packet(self, at: int) -> Any:
        packet = self._builder.create_packet()
        packet.timestamp = at
        packet.trusted_packet_sequence_id = _SEQUENCE
        return packet


def _annotate(event: Any, name: str, value: int, *, pointer: bool = False) -> None:
    annotation = event.debug_annotations.add()
    annotation.name = name
    if pointer:
        annotation.pointer_value = value
    else:
        annotation.uint_value = value
