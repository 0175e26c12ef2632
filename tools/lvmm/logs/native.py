"""The monitor's own decoder, in C: a library of a few kilobytes, built at the first use.

It is there where there is a C compiler and lvmm's source tree, or where installing lvmm has built
it. Everything works without: see lvmm.logs.statistics. LVMM_NATIVE=0 in the environment turns it
off.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lvmm.errors import EnvironmentProblem, LvmmError
from lvmm.logs.counts import Count, Statistics
from lvmm.logs.layout import ChunkHeader, EventKind

LIBRARY = "log_statistics.so"

_TOOLS = Path(__file__).resolve().parents[2]
_ROOT = _TOOLS.parent
_SOURCES = (
    "tools/native/log_statistics.c",
    "hypervisor/replay/log_codec.c",
    "hypervisor/lib/crc32c.c",
)
_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-fvisibility=default")
_GENERATOR = "logs_format/generate.py"
_TIMEOUT_S = 120

# As in tools/native/log_statistics.h.
_KINDS = 32
_STREAMS = 256
_TABLES = ("ports", "mmio", "msrs", "code")
_ERRORS = {-1: "malformed event", -2: "cut short", -8: "bytes follow the last event"}
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


def build(output: Path) -> None:
    """Compile the library from the source tree. Raises EnvironmentProblem."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise EnvironmentProblem("there is no C compiler")
    if not (_ROOT / _SOURCES[0]).is_file():
        raise EnvironmentProblem("lvmm's source tree is not there")
    try:
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            header, library = Path(folder) / "log_format.h", Path(folder) / LIBRARY
            includes = [f"-I{_ROOT / 'hypervisor'}", f"-I{_ROOT / 'tools/native'}", f"-I{folder}"]
            sources = [str(_ROOT / source) for source in _SOURCES]
            for command in (
                [sys.executable, str(_ROOT / _GENERATOR), "--c", str(header)],
                [compiler, *_FLAGS, *includes, *sources, "-o", str(library)],
            ):
                subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
            library.replace(output)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentProblem(f"cannot build the decoder: {error}") from None


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The library, built if necessary."""
    if os.environ.get("LVMM_NATIVE") == "0":
        return None
    try:
        installed = Path(__file__).with_name(LIBRARY)
        return _declared(ctypes.CDLL(str(installed if installed.exists() else _cached())))
    except (OSError, LvmmError):
        return None


def _cached() -> Path:
    """The library of just these sources in the cache directory. Raises LvmmError, OSError."""
    from lvmm.cache import cache_dir

    digest = hashlib.sha256(repr(_FLAGS).encode())
    parts = [*_SOURCES, "tools/native/log_statistics.h", "logs_format/events.toml"]
    parts += ["logs_format/emit_c.py", "hypervisor/replay/log_codec.h"]
    parts += ["hypervisor/replay/log_wire.h", "hypervisor/lib/types.h"]
    for part in parts:
        digest.update((_ROOT / part).read_bytes())
    path = cache_dir() / f"native-{digest.hexdigest()[:16]}.so"
    if not path.exists():
        build(path)
    return path


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    library.log_statistics_new.argtypes = [u64]
    library.log_statistics_new.restype = pointer
    library.log_statistics_free.argtypes = [pointer]
    library.log_statistics_free.restype = None
    library.log_statistics_add.argtypes = [
        *(pointer, ctypes.c_char_p, u32, u32, u64, u64, ctypes.c_bool),
        ctypes.POINTER(ctypes.c_int),
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
        self._library = library
        self._state = library.log_statistics_new(addresses_max)
        if not self._state:
            raise EnvironmentProblem("there is not enough memory")

    @classmethod
    def create(cls, addresses_max: int) -> NativeCounter | None:
        """A counter, or None where the library cannot be had."""
        library = _library()
        return cls(library, addresses_max) if library is not None else None

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._library.log_statistics_free(self._state)

    def add(self, header: ChunkHeader, payload: bytes, tables: bool) -> tuple[int, str]:
        """See Counter."""
        error = ctypes.c_int()
        done = self._library.log_statistics_add(
            *(self._state, payload, len(payload), header.event_count),
            *(header.first_branches, header.first_rip, tables, ctypes.byref(error)),
        )
        if error.value == _NO_SPACE:
            raise EnvironmentProblem("there is not enough memory")
        return done, _ERRORS.get(error.value, "") if error.value else ""

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
