"""The image of a guest's own disk as a recording's manifest names it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.guest import SECTOR_SIZE
from lvmm.logs.printing import Progress
from lvmm.recording_dir import FileEntry

_PART_BYTES = 1 << 20


def check_usb_disk(image: Path) -> None:
    """Raises UsageError, with what is wrong, for what cannot be a disk on USB."""
    if not image.is_file():
        raise UsageError(
            f"--usb-disk: {'not a file' if image.exists() else 'no such file'}: {image}"
        )
    size = image.stat().st_size
    if size == 0 or size % SECTOR_SIZE:
        raise UsageError(
            f"--usb-disk: {image} is not a disk image: it has {size} bytes, which are no whole "
            f"sectors of {SECTOR_SIZE}"
        )


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
