"""The image of a guest's own disk as a recording's manifest names it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from lvmm.errors import EnvironmentProblem
from lvmm.logs.printing import Progress
from lvmm.recording_dir import FileEntry

_PART_BYTES = 1 << 20


def describe_disk(image: Path) -> FileEntry:
    """Name, size and digest of the image, as it is now. Raises EnvironmentProblem."""
    digest = hashlib.sha256()
    done = 0
    try:
        size = image.stat().st_size
        with image.open("rb") as file, Progress(f"digest of {image}", size, sys.stderr) as progress:
            while part := file.read(_PART_BYTES):
                digest.update(part)
                done += len(part)
                progress.at(done)
    except OSError as error:
        raise EnvironmentProblem(f"cannot read {image}: {error.strerror}") from None
    return FileEntry(image.name, done, digest.hexdigest())
