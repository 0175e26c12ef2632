"""Zstandard by whichever is installed: the Python package zstandard, or the program zstd."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from lvmm.errors import EnvironmentProblem, RecordingError

MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
_LEVEL = 9
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
        with module.ZstdCompressor(level=level).stream_writer(file, closefd=False) as stream:
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
    """A stream of what a file holds. Raises EnvironmentProblem; RecordingError when damaged."""
    module = _module()
    if module is not None:
        with path.open("rb") as file:
            reader = module.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            try:
                yield reader
            except module.ZstdError as error:
                raise RecordingError(f"{path}: damaged: {error}") from None
        return
    with subprocess.Popen(_program("-d", str(path)), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout
        rest = process.stdout.read(1)
    if process.returncode != 0 and not rest:
        raise RecordingError(f"{path}: damaged, as zstd says")


def _module() -> Any:
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard


def _program(*options: str) -> list[str]:
    program = shutil.which("zstd")
    if program is None:
        raise EnvironmentProblem(_MISSING)
    return [program, "-q", "-c", *options]
