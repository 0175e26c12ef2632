"""Count what is in a log: events, exits and bytes by kind, by device and by code address.

Two decoders do the same: the monitor's own, in C (lvmm.logs.native_counter), and lvmm.logs.codec.
"""

from __future__ import annotations

from collections.abc import Callable

from lvmm.logs.chunk_runs import chunk_in
from lvmm.logs.codec import Event, decode_chunk
from lvmm.logs.counts import ADDRESSES_MAX, Count, Counted, Counter, LogPart, Statistics
from lvmm.logs.layout import (
    FORMAT_VERSION,
    NOTES,
    ChunkHeader,
    ChunkKind,
    Dma,
    EventKind,
    In,
    InString,
    MmioRead,
    Rdmsr,
)
from lvmm.logs.native_counter import NativeCounter
from lvmm.logs.recording import Recording
from lvmm.logs.wire import WireError


class PythonCounter:
    """Counts with the decoder in Python."""

    def __init__(self, addresses_max: int = ADDRESSES_MAX) -> None:
        """Nothing counted."""
        self._statistics = Statistics()
        self._max = addresses_max
        self._version: int | None = None  # of the first chunk

    def add(self, part: LogPart, tables: bool) -> Counted:
        """See Counter."""
        for number, offset in enumerate(part.offsets):
            chunk = chunk_in(part.data, offset - part.base)
            if chunk is None:
                return Counted(number)
            header, payload = chunk
            self._version = self._version or header.format_version
            if header.format_version != self._version:
                return Counted(number, 0, "a chunk of another format version")
            if header.kind == ChunkKind.EVENTS:
                done, error = self._add_chunk(header, payload, tables)
                if error:
                    return Counted(number, done, error)
        return Counted(len(part.offsets))

    def result(self) -> Statistics:
        """See Counter."""
        return self._statistics

    def _add_chunk(self, header: ChunkHeader, payload: bytes, tables: bool) -> tuple[int, str]:
        done = 0
        try:
            for event in decode_chunk(header, payload):
                done += 1
                self._count(event)
                if tables:
                    self._count_addresses(event)
        except WireError as error:
            return done, str(error)
        return done, ""

    def _count(self, event: Event) -> None:
        statistics = self._statistics
        _add(statistics.kinds.setdefault(event.kind, Count()), event.size)
        if _is_exit(event):
            statistics.exits[event.kind] = statistics.exits.get(event.kind, 0) + 1
        if isinstance(event.payload, Dma):
            stream = statistics.streams.setdefault(event.payload.stream, Count())
            _add(stream, event.size, event.payload.data_len)
        statistics.last_branches, statistics.last_rip = event.branches, event.rip
        statistics.last_kind = event.kind

    def _count_addresses(self, event: Event) -> None:
        statistics = self._statistics
        match event.payload:
            case In(port=port) | InString(port=port):
                self._count_in("ports", statistics.ports, port, event.size)
            case MmioRead(gpa=gpa):
                self._count_in("mmio", statistics.mmio, gpa, event.size)
            case Rdmsr(index=index):
                self._count_in("msrs", statistics.msrs, index, event.size)
        if _is_exit(event):
            self._count_in("code", statistics.code, event.rip, event.size)

    def _count_in(self, name: str, table: dict[int, Count], address: int, size: int) -> None:
        count = table.get(address)
        if count is None:
            if len(table) >= self._max:
                uncounted = self._statistics.uncounted
                uncounted[name] = uncounted.get(name, 0) + 1
                return
            count = table[address] = Count()
        _add(count, size)


def _add(count: Count, size: int, data: int = 0) -> None:
    count.events += 1
    count.bytes += size
    count.data += data


def _is_exit(event: Event) -> bool:
    if event.kind == EventKind.DMA or event.kind in NOTES:
        return False
    return not (event.asynchronous or event.same_position)


def fast_counter(addresses_max: int = ADDRESSES_MAX) -> Counter | None:
    """A counter with the decoder in C; None where it cannot be built."""
    return NativeCounter.create(addresses_max)


def _is_of_today(recording: Recording) -> bool:
    """Whether the decoder in C can read it: it knows one format version."""
    chunks = recording.chunks
    return not len(chunks) or chunks[0].header.format_version == FORMAT_VERSION


def count(
    recording: Recording,
    counter: Counter,
    *,
    tables: bool = True,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> Statistics:
    """Count a recording's events; what is malformed becomes a loss of the recording.

    `progress` is told the bytes of the log that are done.
    """
    if isinstance(counter, NativeCounter) and not _is_of_today(recording):
        counter = PythonCounter(counter.addresses_max)
    total = max(len(recording.chunks), 1)
    index = 0  # of the next chunk
    for part in recording.chunks.parts():
        end = index + len(part.offsets)
        while index < end:
            counted = counter.add(part, tables)
            index += counted.chunks
            if index == end:
                break
            reason = WireError(counted.error or "cut short")
            recording.add_malformed(recording.chunks[index], counted.events, reason)
            part = part.after(counted.chunks + 1)
            index += 1
        progress(recording.log_bytes * index // total)
    return counter.result()
