"""A packed recording (lvmm.logs.pack) as a directory that can be replayed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from lvmm.errors import EnvironmentProblem, RecordingError, UsageError
from lvmm.log_alone import adopt, is_alone
from lvmm.logs.compression import is_compressed
from lvmm.logs.pack import unpacked
from lvmm.recording_dir import LOG, check_replayable, copy_file, read_manifest


@contextmanager
def unpacked_recording(path: Path, images: Sequence[Path]) -> Iterator[Path]:
    """The directory of a recording; a temporary one where it is packed, or a log alone.

    `images` are files of the guest's that are not in it: each is known by its digest. Raises
    UsageError (an image is missing, or is none), RecordingError (damaged) and EnvironmentProblem.
    """
    if not is_compressed(path):
        if is_alone(path):
            check_replayable(path / LOG if path.is_dir() else path)
            with TemporaryDirectory(prefix="lvmm-log-") as folder:
                adopt(path, images, Path(folder))
                yield Path(folder)
            return
        if images:
            raise UsageError("--image: only a packed recording lacks files")
        yield path
        return
    with unpacked(path) as directory:
        if not (directory / "recording.json").is_file():
            raise RecordingError(f"{path}: a log alone; it can be read, but not replayed")
        _add_images(path, directory, images)
        yield directory


def _add_images(pack: Path, directory: Path, images: Sequence[Path]) -> None:
    manifest = read_manifest(directory)
    given = {_sha256(image): image for image in images}
    lacking = [e for e in manifest.images if not (directory / e.path).exists()]
    for entry in lacking:
        image = given.pop(entry.sha256, None)
        if image is None:
            raise UsageError(
                f"{pack}: {Path(entry.path).name} is not in it: give it by --image FILE"
                f" ({entry.size} bytes, sha256 {entry.sha256})"
            )
        copy_file(image, directory / entry.path)
    for image in given.values():
        raise UsageError(f"--image {image}: no file that this recording lacks")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EnvironmentProblem(f"cannot read {path}: {error.strerror}") from None
