"""Where bytes come from: a file, sparse or not, a pipe, or a machine's memory device."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lvmm.errors import EnvironmentProblem

PAGE = 4096
_BLOCK = 1 << 20
_FIRST_BLOCK = 1 << 16
_DEVMEM = "/dev/mem"
_IOMEM = Path("/proc/iomem")
# What may hold a log region: RAM that the running kernel uses, or was told to leave alone. Ranges
# of devices are never read.
_IOMEM_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) : (?:System RAM|Reserved|reserved)")


class Source:
    """Random access to bytes. Unreadable pages of a memory device read as zeros."""

    def __init__(self, path: str) -> None:
        """Open `path`, or standard input when it is `-`. Raises EnvironmentProblem."""
        self.name = "standard input" if path == "-" else path
        self._ranges: list[tuple[int, int]] | None = None
        try:
            self._fd = _open_stdin() if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._is_memory = stat.S_ISCHR(os.fstat(self._fd).st_mode)
            if path == _DEVMEM:
                self._ranges = _memory_ranges()
                self.size = self._ranges[-1][1]
            else:
                self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise EnvironmentProblem(f"{self.name}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def read(self, offset: int, size: int) -> bytes:
        """The bytes from `offset`, fewer than `size` only at the end of the source.

        What a memory device has of devices is never read, and is zeros here.
        """
        size = min(size, max(self.size - offset, 0))
        if self._ranges is None:
            return self._read(offset, size)
        parts = []
        at, end = offset, offset + size
        for low, high in self._ranges:
            low, high = max(low, at), min(high, end)
            if low < high:
                parts += [bytes(low - at), self._read(low, high - low)]
                at = high
        return b"".join([*parts, bytes(end - at)])

    def _read(self, offset: int, size: int) -> bytes:
        parts = []
        while size:
            try:
                part = os.pread(self._fd, size, offset)
            except OSError as error:
                if not self._is_memory:
                    raise EnvironmentProblem(f"{self.name}: {error.strerror}") from error
                # One page at a time tells which of them are unreadable.
                part = self._read(offset, PAGE - offset % PAGE) if size > PAGE else bytes(size)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def extents(self, at: int = 0) -> Iterator[tuple[int, int]]:
        """Yield start and end of the parts from `at` on that hold data; holes read as zeros."""
        if self._ranges is not None:
            yield from ((max(low, at), high) for low, high in self._ranges if high > at)
            return
        while at < self.size:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
                end = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != errno.ENXIO:  # which says: no data after `at`
                    yield at, self.size  # the file system knows no holes
                return
            yield start, min(end, self.size)
            at = end

    def find(self, pattern: bytes, start: int, end: int, align: int) -> Iterator[int]:
        """Yield offsets in [start, end), multiples of `align` from `start`, of `pattern`.

        `pattern` is at most a page long. Holes are skipped.
        """
        step = _FIRST_BLOCK  # a hit may be near
        for low, high in self.extents(start):
            if low >= end:
                return
            high = min(high, end)
            low -= (low - start) % align
            at = low
            while at < high:
                block = self.read(at, min(step, high - at) + len(pattern) - 1)
                hit = block.find(pattern)
                while hit >= 0:
                    if (at + hit - start) % align == 0:
                        yield at + hit
                    hit = block.find(pattern, hit + 1)
                at += step
                step = min(2 * step, _BLOCK)


def _open_stdin() -> int:
    """A seekable file with what stands on standard input."""
    fd = os.dup(sys.stdin.fileno())
    try:
        os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        os.close(fd)
    else:
        return fd
    with tempfile.TemporaryFile() as spool:
        while block := sys.stdin.buffer.read(_BLOCK):
            if block.count(0) == len(block):
                spool.seek(len(block), os.SEEK_CUR)  # keep an image of memory sparse
            else:
                spool.write(block)
        spool.truncate()
        return os.dup(spool.fileno())


def _memory_ranges() -> list[tuple[int, int]]:
    ranges = [
        (int(match[1], 16), int(match[2], 16) + 1)
        for line in _IOMEM.read_text().splitlines()
        if (match := _IOMEM_LINE.fullmatch(line))
    ]
    if not ranges or ranges[-1][1] <= PAGE:
        raise EnvironmentProblem(f"{_IOMEM} does not show addresses: run as root")
    return sorted(ranges)
