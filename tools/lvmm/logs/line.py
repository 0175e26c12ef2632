"""The log of a machine at the other end of a serial line, whose guest stands still.

What the region holds is copied into a file in the cache, at its offsets, so that everything that
reads a memory image reads it. The copy goes on where it was broken off, in this run or the next.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from lvmm.cache import cache_dir
from lvmm.errors import EnvironmentProblem, LvmmError, UsageError, VersionMismatch
from lvmm.logs.errors import NoLog
from lvmm.logs.layout import REGION_MAGIC, ChunkHeader, RegionHeader
from lvmm.logs.source import PAGE

_SCHEMES = ("socket://", "rfc2217://")
_PART = 1 << 14  # bytes that are asked for, and then kept, at once
_PATIENCE_S = 60.0  # without a byte: then the line is given up
_RETRY_S = 1.0
_TELL_S = 2.0

_Answer = TypeVar("_Answer")


class LogLine(Protocol):
    """What is needed of lvmm.link.LinkClient."""

    def stands_still(self) -> bool:
        """Whether the guest runs no more, or not now."""

    def read_log(self, offset: int, length: int) -> bytes:
        """Reads the log region; fewer bytes than `length` at its end."""


def is_line(source: str) -> bool:
    """Whether SOURCE is a serial line, here or behind a terminal server or an emulator."""
    if source.startswith(_SCHEMES):
        return True
    try:
        if not stat.S_ISCHR(Path(source).stat().st_mode):
            return False
        fd = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.isatty(fd)
    finally:
        os.close(fd)


def fetch_line(source: str, say: Callable[[str], None]) -> Path:
    """Copies the log of the machine at this line; returns the copy, an image of the region.

    `say` gets a line of progress now and then. Raises LvmmError: no line, no answer, no log, a
    guest that runs, a line that stays broken.
    """
    try:
        from lvmm.link import LinkClient, LinkError, LinkMismatch, RunState
        from lvmm.link.stream import open_stream
    except ImportError as error:
        raise EnvironmentProblem(
            f"a serial line needs the Python package {error.name}: pip install pyserial cobs"
        ) from None

    class Line(LinkClient):
        def stands_still(self) -> bool:
            return self.status().state != RunState.RUNNING

    with Line(lambda: open_stream(source)) as line:
        try:
            line.connect()
        except LinkMismatch as error:
            raise VersionMismatch(str(error)) from error
        except LinkError as error:
            raise EnvironmentProblem(f"{source}: {error}") from error
        return Fetch(line, source, say).run(cache_dir() / "lines")


@dataclass
class _Span:
    """A part of the region that is in use: `length` bytes at `start`."""

    start: int
    length: int


class Fetch:
    """Copies a region over a line. Where the line fails, it is asked again for a minute."""

    def __init__(self, line: LogLine, name: str, say: Callable[[str], None]) -> None:
        self._line = line
        self._name = name
        self._say = say
        self.patience_s = _PATIENCE_S
        self.retry_s = _RETRY_S

    def run(self, folder: Path) -> Path:
        """Returns the copy, a file in `folder`."""
        if not self._patiently(self._line.stands_still):
            raise UsageError(
                f"{self._name}: the guest is running, and its log growing: stop it first"
                " (lvmm attach --serial LINE --gdb PORT)"
            )
        page = self._patiently(lambda: self._line.read_log(0, PAGE))
        header = RegionHeader.unpack(page) if len(page) == PAGE else None
        if header is None or header.magic != REGION_MAGIC:
            raise NoLog(f"{self._name}: the monitor there has no log")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            copy = folder / f"{header.recording_id:016x}.region"
            self._copy(copy, page, _spans(header))
        except OSError as error:
            raise EnvironmentProblem(f"cannot write {folder}: {error.strerror}") from error
        return copy

    def _copy(self, copy: Path, page: bytes, spans: list[_Span]) -> None:
        """The file's size tells how far an earlier copy has come: it grows from span to span."""
        with copy.open("r+b" if copy.exists() else "w+b") as file:
            if file.read(PAGE) != page:
                file.truncate(0)  # the log of another time
                file.seek(0)
                file.write(page)
            have = file.seek(0, os.SEEK_END)
            todo = [_rest(span, have) for span in spans]
            left = sum(span.length for span in todo)
            progress = _Progress(self._say, sum(span.length for span in spans), left)
            for span in todo:
                while span.length:
                    data = self._part(span)
                    file.seek(span.start)
                    file.write(data)
                    file.flush()
                    span.start += len(data)
                    span.length -= len(data)
                    progress.add(len(data))

    def _part(self, span: _Span) -> bytes:
        length = min(span.length, _PART)
        data = self._patiently(lambda: self._line.read_log(span.start, length))
        if len(data) != length:
            raise NoLog(f"{self._name}: the log ends before its header says")
        return data

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        end = time.monotonic() + self.patience_s
        while True:
            try:
                return ask()
            except LvmmError as error:
                if time.monotonic() > end:
                    raise EnvironmentProblem(
                        f"{error}; what has come so far is kept: run the same command again"
                    ) from error
                self._say(f"{error}; trying again")
                time.sleep(self.retry_s)


def _spans(header: RegionHeader) -> list[_Span]:
    """What the region uses, but for its first page, in ascending order."""
    open_bytes = header.open_chunk & 0xFFFFFFFF
    if open_bytes:
        open_bytes += ChunkHeader.STRUCT.size
    used = min(max(header.chunk_bytes + open_bytes, header.lap_end), header.chunks_size)
    console = min(header.console_head, header.console_size)
    return [_Span(header.console_offset, console), _Span(header.chunks_offset, used)]


def _rest(span: _Span, have: int) -> _Span:
    """What is missing of a span in a file of `have` bytes."""
    done = min(max(have - span.start, 0), span.length)
    return _Span(span.start + done, span.length - done)


class _Progress:
    """Says now and then how far a copy is."""

    def __init__(self, say: Callable[[str], None], total: int, left: int) -> None:
        self._say = say
        self._total = total
        self._left_at_start = self._left = left
        self._start = self._told = time.monotonic()
        if left < total:
            say(f"{(total - left) >> 10} KiB of {total >> 10} are here from before")

    def add(self, count: int) -> None:
        """So many bytes more."""
        self._left -= count
        now = time.monotonic()
        if now < self._told + _TELL_S or not self._left:
            return
        self._told = now
        rate = (self._left_at_start - self._left) / (now - self._start)
        self._say(
            f"{100 * (self._total - self._left) // self._total}% of {self._total >> 10} KiB,"
            f" {rate / 1024:.1f} KiB/s, {self._left / rate:.0f} s left"
        )
