"""Zstandard by whichever is installed: the Python package zstandard, or the program zstd."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lvmm.errors import EnvironmentProblem, RecordingError
from lvmm.logs.zstd_frames import MAGIC, ends_within_frame

_LEVEL = 9
_PART = 1 << 12  # bytes, of which a great many may come
_MISSING = "no Zstandard: install the Python package zstandard or the program zstd"


def is_compressed(path: Path) -> bool:
    """Whether a file begins as Zstandard's do."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


@contextlib.contextmanager
def compressed_to(file: IO[bytes], level: int = _LEVEL) -> Iterator[IO[bytes]]:
    """A stream whose bytes go to `file`, compressed. Raises EnvironmentProblem."""
    module = _module()
    if module is not None:
        compressor = module.ZstdCompressor(level=level, write_checksum=True)
        with compressor.stream_writer(file, closefd=False) as stream:
            yield stream
        return
    process = subprocess.Popen(_program(f"-{level}"), stdin=subprocess.PIPE, stdout=file)
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        process.stdin.close()
        if process.wait() != 0:
            raise EnvironmentProblem("zstd failed: is the disk full?")


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """A stream of what a file holds, of a damaged one what can be read.

    Raises EnvironmentProblem; RecordingError, where it was read in vain or at the end, when the
    file is damaged or cut short.
    """
    with path.open("rb") as file:
        module = _module()
        if module is not None:
            try:
                yield _Frames(file, module)  # type: ignore[misc]
            except module.ZstdError as error:
                raise RecordingError(
                    f"{path}: damaged before byte {file.tell()} ({error}): copy it again"
                ) from None
            failed = False
        else:
            with _program_reading(path) as process:
                assert process.stdout is not None
                yield process.stdout
                failed = not process.stdout.read(1) and process.wait() != 0
        if ends_within_frame(file):
            raise RecordingError(f"{path}: cut short after byte {file.seek(0, 2)}: copy it again")
        if failed:
            raise RecordingError(f"{path}: damaged, as zstd says: copy it again")


class _Frames(io.RawIOBase):
    """What the frames of a file hold, up to the damage: the package's own stream keeps the last
    block for itself where the frame does not end.
    """

    def __init__(self, file: IO[bytes], module: Any) -> None:
        self._file = file
        self._module = module
        self._frame = module.ZstdDecompressor().decompressobj()
        self._input = b""
        self._output, self._at = b"", 0
        self._error: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As many bytes, fewer at the end. Raises ZstdError when damage is next."""
        parts = []
        while size:
            part = self._output[self._at : self._at + size if size > 0 else None]
            self._at += len(part)
            size -= len(part) if size > 0 else 0
            parts.append(part)
            if not part and not self._more():
                break
        data = b"".join(parts)
        if self._error is not None and size and not data:
            raise self._error
        return data

    def _more(self) -> bool:
        """Whether there was any, even if nothing came of it yet."""
        self._input = self._input or self._file.read(_PART)
        if not self._input or self._error is not None:
            return False
        if self._frame.eof:
            self._frame = self._module.ZstdDecompressor().decompressobj()
        try:
            self._output, self._at = self._frame.decompress(self._input), 0
        except self._module.ZstdError as error:
            self._output, self._error = b"", error
            return False
        self._input = self._frame.unused_data
        return True


def _module() -> Any:
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard


def _program_reading(path: Path) -> subprocess.Popen[bytes]:
    """What it says of a damaged file is said by us."""
    command = _program("-d", str(path))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _program(*options: str) -> list[str]:
    program = shutil.which("zstd")
    if program is None:
        raise EnvironmentProblem(_MISSING)
    return [program, "-q", "-c", *options]
