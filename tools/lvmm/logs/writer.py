"""Write recordings and memory regions in Python, as the monitor would: for tests and tools."""

from __future__ import annotations

from dataclasses import replace

from lvmm.logs.chunks import chunk_crc
from lvmm.logs.codec import Event, encode_event
from lvmm.logs.coding import Codec
from lvmm.logs.crc import crc32c
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import (
    CHUNK_ALIGN,
    CHUNK_MAGIC,
    CHUNK_PAYLOAD_TARGET,
    EVENT_OVERHEAD_MAX,
    FORMAT_VERSION,
    REGION_MAGIC,
    ChunkHeader,
    ChunkKind,
    Mode,
    RegionHeader,
    RegionState,
)
from lvmm.logs.source import PAGE
from lvmm.logs.wire import WireError

_STATIC_SIZE = 72


class LogWriter:
    """Collects a recording's chunks in memory; `data` holds those that are closed."""

    def __init__(self, recording_id: int, header: RecordingHeader) -> None:
        """Begin a recording with its header chunk."""
        self.data = bytearray()
        self.recording_id = recording_id
        self.next_seq = 0
        self.next_event = 0
        self._branches = 0
        self._rip = 0
        self._codec: Codec | None = None
        self._payload = bytearray()
        self._chunk = ChunkHeader(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        self._open(ChunkKind.HEADER, 0, 0)
        self._payload += header.encode()
        self.flush()

    def write(self, event: Event) -> None:
        """Append an event; its index is not used. Raises WireError; nothing is written then."""
        branches, rip = event.branches, event.rip
        if event.same_position:
            branches, rip = self._branches, self._rip
        elif branches < self._branches:
            raise WireError(f"branches go from {self._branches} to {branches}")
        trial = bytearray()
        encode_event(Codec(branches, rip), event, trial)  # what cannot be encoded changes nothing
        needed = EVENT_OVERHEAD_MAX + event.payload.data_len
        if self._codec is not None and len(self._payload) + needed > CHUNK_PAYLOAD_TARGET:
            self.flush()
        if self._codec is None:
            self._open(ChunkKind.EVENTS, branches, rip)
            self._codec = Codec(branches, rip)
        encode_event(self._codec, event, self._payload)
        self._chunk = replace(self._chunk, event_count=self._chunk.event_count + 1)
        self.next_event += 1
        self._branches, self._rip = branches, rip

    def flush(self) -> None:
        """Close the open chunk."""
        if not self._payload:
            return  # a chunk's first event always takes bytes
        chunk = replace(self._chunk, payload_len=len(self._payload))
        chunk = replace(chunk, crc32c=chunk_crc(chunk, bytes(self._payload)))
        self.data += chunk.pack() + self._payload
        self.data += bytes(-len(self.data) % CHUNK_ALIGN)
        self.next_seq += 1
        self._payload = bytearray()
        self._codec = None

    def _open(self, kind: ChunkKind, branches: int, rip: int) -> None:
        self._chunk = ChunkHeader(
            magic=CHUNK_MAGIC,
            format_version=FORMAT_VERSION,
            kind=kind,
            recording_id=self.recording_id,
            first_event=self.next_event,
            first_branches=branches,
            first_rip=rip,
            seq=self.next_seq,
            payload_len=0,
            event_count=0,
            crc32c=0,
        )


def build_region(
    log: LogWriter,
    size: int,
    console: bytes = b"",
    console_size: int = PAGE,
    state: RegionState = RegionState.SEALED,
) -> bytes:
    """The bytes of a memory region of `size` bytes that holds the closed chunks of `log`."""
    chunks_offset = PAGE + console_size
    header = RegionHeader(
        magic=REGION_MAGIC,
        format_version=FORMAT_VERSION,
        static_size=_STATIC_SIZE,
        recording_id=log.recording_id,
        region_size=size,
        console_offset=PAGE,
        console_size=console_size,
        chunks_offset=chunks_offset,
        chunks_size=size - chunks_offset,
        mode=Mode.RECORD,
        flags=0,
        crc32c=0,
        state=state,
        next_seq=log.next_seq,
        reserved2=0,
        chunk_bytes=len(log.data),
        open_chunk=0,
        console_head=len(console),
        event_count=log.next_event,
        taken=0,
        lap_end=0,
        firmware=0,
        firmware_count=0,
        address=0,
        memory_crc32c=0,
        memory_known=0,
    )
    header = replace(header, crc32c=crc32c(header.pack()[:_STATIC_SIZE]))
    ring = bytearray(console_size)
    for position, byte in enumerate(console):
        ring[position % console_size] = byte
    region = header.pack().ljust(PAGE, b"\0") + ring + log.data
    return bytes(region.ljust(size, b"\0"))
