"""A recording in one compressed file: a tar archive of its directory, compressed by Zstandard.

`tar --zstd -xf` unpacks it as well. What the emulator and the monitor said of themselves (run/) is
left out, and the guest's images too unless they are asked for: recording.json has their digests.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lvmm.errors import EnvironmentProblem, RecordingError
from lvmm.logs.chunk_runs import MAGIC as CHUNK_MAGIC
from lvmm.logs.compression import compressed_to, decompressed
from lvmm.logs.output import new_file

if TYPE_CHECKING:
    from lvmm.logs.recording import Recording

LOG, CONSOLE = "log.lvmm", "console.log"
_BESIDE = ("recording.json", "memory.pages")
_IMAGES = "guest"
_BLOCK = 1 << 20

SECRETS = (
    "it may hold secrets: all that the guest read from its devices, keys and passwords among it;"
    " give it to nobody who may not see that machine's memory"
)


def write_pack(recording: Recording, path: Path, *, images: bool) -> list[str]:
    """Pack a recording, with the guest's images if asked; returns the names of what is in it.

    Raises EnvironmentProblem.
    """
    if not path.parent.is_dir():
        raise EnvironmentProblem(f"cannot write {path}: {path.parent} is no directory")
    directory = Path(recording.source.name).parent
    beside = recording.region is None and Path(recording.source.name).name == LOG
    names = []
    with TemporaryDirectory(dir=path.parent) as folder:
        log = Path(folder) / LOG
        recording.save(log)
        with (
            new_file(path) as file,
            compressed_to(file) as stream,
            tarfile.open(fileobj=stream, mode="w|") as archive,
        ):
            files = [(LOG, log)]
            if beside:
                files += [(name, directory / name) for name in _BESIDE]
                if images:
                    found = sorted((directory / _IMAGES).glob("*"))
                    files += [(f"{_IMAGES}/{image.name}", image) for image in found]
            for name, source in files:
                if source.is_file():
                    archive.add(source, name, recursive=False, filter=_anonymous)
                    names.append(name)
            if recording.console is not None:
                info = tarfile.TarInfo(CONSOLE)
                info.size = len(recording.console)
                archive.addfile(info, io.BytesIO(recording.console))
                names.append(CONSOLE)
    return names


def read_pack(path: Path, directory: Path, names: tuple[str, ...] | None = None) -> None:
    """Unpack into a directory, all or what has these names. A log alone may be compressed, too.

    Raises EnvironmentProblem; RecordingError when the file is damaged or no pack.
    """
    try:
        with decompressed(path) as stream:
            start = stream.read(len(CHUNK_MAGIC))
            whole = _Prefixed(start, stream)
            if start == CHUNK_MAGIC:
                with (directory / LOG).open("wb") as log:
                    while block := whole.read(_BLOCK):
                        log.write(block)
                return
            with tarfile.open(fileobj=whole, mode="r|") as archive:
                for member in archive:
                    if member.isfile() and _wanted(member.name, names):
                        _write_member(archive, member, directory)
    except (tarfile.TarError, EOFError) as error:
        raise RecordingError(f"{path}: damaged, or no packed recording: {error}") from None
    except OSError as error:
        raise EnvironmentProblem(f"cannot unpack {path}: {error.strerror or error}") from None


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary directory with all of a pack. Raises as read_pack does."""
    with TemporaryDirectory(prefix="lvmm-") as folder:
        directory = Path(folder) / path.name.split(".")[0]
        directory.mkdir()
        read_pack(path, directory)
        yield directory


def _write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    """The file's content alone, without what an archive may say of owner, mode and time."""
    source = archive.extractfile(member)
    assert source is not None, "it is a file"
    target = directory / member.name
    target.parent.mkdir(exist_ok=True)
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


def _wanted(name: str, names: tuple[str, ...] | None) -> bool:
    """Only what a pack has: nothing of another archive gets anywhere else."""
    if names is not None:
        return name in names
    parts = PurePosixPath(name).parts
    if len(parts) == 2 and parts[0] == _IMAGES:
        return parts[1] != ".."
    return name in (LOG, CONSOLE, *_BESIDE)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the name of whoever packed it."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o644
    return info


class _Prefixed(io.RawIOBase):
    """A stream with bytes put back at its start."""

    def __init__(self, start: bytes, stream: object) -> None:
        self._start = start
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; empty at the end."""
        if self._start:
            start, self._start = self._start[:size], self._start[size:]
            return start
        data: bytes = self._stream.read(size)  # type: ignore[attr-defined]
        return data
