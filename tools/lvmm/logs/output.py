"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lvmm.errors import EnvironmentProblem


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Writes a file by way of a temporary one beside it. Raises EnvironmentProblem."""
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
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, parts: Iterator[bytes]) -> None:
    """Writes the parts to a file. Raises EnvironmentProblem."""
    with new_file(path) as file:
        for part in parts:
            file.write(part)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
