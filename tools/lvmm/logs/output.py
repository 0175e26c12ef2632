"""Files that appear whole or not at all; what they must not take the place of."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.logs.layout import CHUNK_MAGIC, REGION_MAGIC
from lvmm.logs.zstd_frames import MAGIC as ZSTD_MAGIC

# How a log, an image of its region and a packed recording begin.
_RECORDINGS = (CHUNK_MAGIC.to_bytes(4, "little"), REGION_MAGIC.to_bytes(8, "little"), ZSTD_MAGIC)


def check_new(*paths: Path) -> None:
    """Raises UsageError when there is something already where a recording is to be saved."""
    for path in paths:
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already; choose another place with -o, or remove it")


def check_replaceable(path: Path | None, source: str | None = None) -> None:
    """Raises UsageError when a file that is to be written is a recording, or what is read."""
    if path is None or not path.is_file():
        return
    if source is not None and Path(source).exists() and path.samefile(source):
        raise UsageError(f"cannot write {path}: it is what is read; choose another file")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return  # that is told when it is written
    if start.startswith(_RECORDINGS):
        raise UsageError(f"{path} holds a recording; choose another file, or remove it")


@contextlib.contextmanager
def new_file(path: Path, *, replaces: bool = True) -> Iterator[IO[bytes]]:
    """Writes a file by way of a temporary one beside it, in the place of another one if it may.

    Raises EnvironmentProblem, and UsageError where it may not.
    """
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            temporary = Path(file.name)
            yield file.file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        if not replaces:
            _link(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, parts: Iterator[bytes], *, replaces: bool = True) -> None:
    """Writes the parts to a file. Raises as new_file() does."""
    with new_file(path, replaces=replaces) as file:
        for part in parts:
            file.write(part)


def _link(temporary: Path, path: Path) -> None:
    """Gives the file its name, if nobody else has it meanwhile."""
    try:
        os.link(temporary, path)
    except OSError:  # the name is taken, or the file system has no links, as FAT
        check_new(path)
        temporary.replace(path)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
