"""A recording in one compressed file: a tar archive of its directory, compressed by Zstandard.

`tar --zstd -xf` unpacks it as well. What the emulator and the monitor said of themselves (run/) is
left out, and the guest's images too unless they are asked for: recording.json has their digests.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

from lvmm.errors import EnvironmentProblem, RecordingError
from lvmm.logs.chunk_runs import MAGIC as CHUNK_MAGIC
from lvmm.logs.compression import compressed_to, decompressed
from lvmm.logs.output import check_new, new_file

if TYPE_CHECKING:
    from lvmm.logs.recording import Recording

LOG, CONSOLE = "log.lvmm", "console.log"
_BESIDE = ("recording.json", "memory.pages")
_IMAGES = "guest"
_BLOCK = 1 << 20
_ALL = 1 << 63

SECRETS = (
    "it may hold secrets: all that the guest read from its devices, keys and passwords among it;"
    " give it to nobody who may not see that machine's memory"
)


def write_pack(recording: Recording, path: Path, *, images: bool) -> list[str]:
    """Pack a recording, with the guest's images if asked; returns the names of what is in it.

    Raises EnvironmentProblem, and UsageError when there is such a file.
    """
    check_new(path)
    if not path.parent.is_dir():
        raise EnvironmentProblem(f"cannot write {path}: {path.parent} is no directory")
    directory = Path(recording.source.name).parent
    beside = recording.region is None and Path(recording.source.name).name == LOG
    names = []
    with TemporaryDirectory(dir=path.parent) as folder:
        log = Path(folder) / LOG
        recording.save(log)
        with (
            new_file(path, replaces=False) as file,
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
    failure = None
    try:
        with decompressed(path) as stream:
            try:
                _unpack(stream, directory, names)
            except (tarfile.TarError, EOFError) as error:
                failure = error
            while stream.read(_BLOCK):  # to its end, which may be missing
                pass
    except OSError as error:
        raise EnvironmentProblem(f"cannot unpack {path}: {error.strerror or error}") from None
    if failure is not None:
        raise RecordingError(f"{path}: no packed recording: {failure}")


def salvage_log(path: Path, directory: Path) -> bool:
    """Unpack what is left of the log in a damaged pack, of which it is the first part.

    Returns whether that is all of it. Raises EnvironmentProblem.
    """
    log = directory / LOG
    whole = False
    try:
        with log.open("wb") as file, suppress(RecordingError), decompressed(path) as stream:
            start = stream.read(tarfile.BLOCKSIZE)
            if start.startswith(CHUNK_MAGIC):
                file.write(start)
                left = _ALL
            else:
                left = _log_size(start, stream)
            # Little by little: of a part that has damage in it nothing is given.
            while block := stream.read(min(tarfile.BLOCKSIZE, left)):
                file.write(block)
                left -= len(block)
            whole = left == 0
    except tarfile.TarError:
        return False
    except OSError as error:
        raise EnvironmentProblem(f"cannot unpack {path}: {error.strerror or error}") from None
    return whole


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary directory with all of a pack. Raises as read_pack does."""
    with TemporaryDirectory(prefix="lvmm-") as folder:
        directory = Path(folder) / path.name.split(".")[0]
        directory.mkdir()
        read_pack(path, directory)
        yield directory


def _unpack(stream: IO[bytes], directory: Path, names: tuple[str, ...] | None) -> None:
    start = stream.read(len(CHUNK_MAGIC))
    whole = _Prefixed(start, stream)
    if start == CHUNK_MAGIC:
        with (directory / LOG).open("wb") as log:
            shutil.copyfileobj(whole, log, _BLOCK)
        return
    with tarfile.open(fileobj=whole, mode="r|") as archive:
        for member in archive:
            if member.isfile() and _wanted(member.name, names):
                _write_member(archive, member, directory)


def _log_size(start: bytes, stream: IO[bytes]) -> int:
    """Bytes of the log that follows in an archive that begins with `start`; 0 where none does.

    Raises TarError. tarfile itself gives nothing of a block that is not all there.
    """
    while True:
        member = tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
        if member.type not in (tarfile.XHDTYPE, tarfile.XGLTYPE):
            return member.size if member.name == LOG else 0
        size = member.size + -member.size % tarfile.BLOCKSIZE  # its time, to the microsecond
        start = stream.read(size + tarfile.BLOCKSIZE)[size:]


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

    def __init__(self, start: bytes, stream: IO[bytes]) -> None:
        self._start = start
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; empty at the end."""
        if self._start:
            start, self._start = self._start[:size], self._start[size:]
            return start
        return self._stream.read(size)
