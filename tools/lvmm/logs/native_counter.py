"""Counts what is in a log with the monitor's own decoder: see tools/native/log_statistics.h."""

from __future__ import annotations

import ctypes

from lvmm.errors import EnvironmentProblem
from lvmm.logs.counts import Count, Counted, LogPart, Statistics
from lvmm.logs.layout import EventKind
from lvmm.logs.native import library

# As in tools/native/log_statistics.h.
_KINDS = 32
_STREAMS = 256
_TABLES = ("ports", "mmio", "msrs", "code")
_ERRORS = {
    -1: "malformed event",
    -2: "cut short",
    -7: "a chunk of another format version",
    -8: "bytes follow the last event",
}
_NO_SPACE = -4


class _Entry(ctypes.Structure):
    """struct log_statistics_entry."""

    _fields_ = (
        ("address", ctypes.c_uint64),
        ("events", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
    )


class _Totals(ctypes.Structure):
    """struct log_statistics_totals."""

    _fields_ = (
        ("events", ctypes.c_uint64 * _KINDS),
        ("bytes", ctypes.c_uint64 * _KINDS),
        ("exits", ctypes.c_uint64 * _KINDS),
        ("stream_events", ctypes.c_uint64 * _STREAMS),
        ("stream_bytes", ctypes.c_uint64 * _STREAMS),
        ("stream_data", ctypes.c_uint64 * _STREAMS),
        ("last_branches", ctypes.c_uint64),
        ("last_rip", ctypes.c_uint64),
        ("uncounted", ctypes.c_uint64 * len(_TABLES)),
        ("last_kind", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class _Chunks(ctypes.Structure):
    """struct log_statistics_chunks."""

    _fields_ = (
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_uint64),
        ("offsets", ctypes.c_void_p),
        ("base", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    library.log_statistics_new.argtypes = [u64]
    library.log_statistics_new.restype = pointer
    library.log_statistics_free.argtypes = [pointer]
    library.log_statistics_free.restype = None
    library.log_statistics_add.argtypes = [
        *(pointer, ctypes.POINTER(_Chunks), ctypes.c_bool),
        *(ctypes.POINTER(u32), ctypes.POINTER(ctypes.c_int)),
    ]
    library.log_statistics_add.restype = u32
    library.log_statistics_totals.argtypes = [pointer]
    library.log_statistics_totals.restype = ctypes.POINTER(_Totals)
    library.log_statistics_table.argtypes = [pointer, u32, ctypes.POINTER(u64)]
    library.log_statistics_table.restype = ctypes.POINTER(_Entry)
    return library


class NativeCounter:
    """A lvmm.logs.counts.Counter."""

    def __init__(self, library: ctypes.CDLL, addresses_max: int) -> None:
        """Use create() instead."""
        self.addresses_max = addresses_max
        self._library = library
        self._state = library.log_statistics_new(addresses_max)
        if not self._state:
            raise EnvironmentProblem("there is not enough memory")

    @classmethod
    def create(cls, addresses_max: int) -> NativeCounter | None:
        """A counter, or None where the library cannot be had."""
        found = library()
        return cls(_declared(found), addresses_max) if found is not None else None

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.log_statistics_free(self._state)

    def add(self, part: LogPart, tables: bool) -> Counted:
        """See Counter."""
        places, count = part.offsets.buffer_info()
        chunks = _Chunks(part.data, len(part.data), places, part.base, count)
        events, error = ctypes.c_uint32(), ctypes.c_int()
        done = self._library.log_statistics_add(
            *(self._state, ctypes.byref(chunks), tables),
            *(ctypes.byref(events), ctypes.byref(error)),
        )
        if error.value == _NO_SPACE:
            raise EnvironmentProblem("there is not enough memory")
        return Counted(done, events.value, _ERRORS.get(error.value, "") if error.value else "")

    def result(self) -> Statistics:
        """See Counter."""
        totals = self._library.log_statistics_totals(self._state).contents
        ports, mmio, msrs, code = (self._table(number) for number in range(len(_TABLES)))
        return Statistics(
            kinds={
                kind: Count(totals.events[kind], totals.bytes[kind])
                for kind in EventKind
                if totals.events[kind]
            },
            exits={kind: totals.exits[kind] for kind in EventKind if totals.exits[kind]},
            streams={
                stream: Count(events, totals.stream_bytes[stream], totals.stream_data[stream])
                for stream, events in enumerate(totals.stream_events)
                if events
            },
            ports=ports,
            mmio=mmio,
            msrs=msrs,
            code=code,
            uncounted={
                name: count for name, count in zip(_TABLES, totals.uncounted, strict=True) if count
            },
            last_branches=totals.last_branches,
            last_rip=totals.last_rip,
            last_kind=EventKind(totals.last_kind) if totals.last_kind else None,
        )

    def _table(self, number: int) -> dict[int, Count]:
        capacity = ctypes.c_uint64()
        entries = self._library.log_statistics_table(self._state, number, ctypes.byref(capacity))
        return {
            entry.address: Count(entry.events, entry.bytes)
            for entry in (entries[i] for i in range(capacity.value))
            if entry.events
        }
