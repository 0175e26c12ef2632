"""Open a recording wherever it is: a memory image, a recording directory, a log file."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lvmm.errors import EnvironmentProblem, LvmmError, RecordingError, UsageError
from lvmm.logs.chunk_runs import MAGIC
from lvmm.logs.chunks import Chunk, read_any_chunk, read_chunk
from lvmm.logs.codec import Event, decode_chunk
from lvmm.logs.compression import is_compressed
from lvmm.logs.errors import READABLE_VERSIONS, Loss, NoLog, version_mismatch
from lvmm.logs.header import RecordingHeader, monitor_version
from lvmm.logs.layout import FORMAT_VERSION, ChunkHeader, ChunkKind, End
from lvmm.logs.output import write_atomically
from lvmm.logs.pack import read_pack, salvage_log
from lvmm.logs.region import Region, find_regions
from lvmm.logs.region_scan import scan_region
from lvmm.logs.scan import ChunkScan, find_chunks, in_order, scan_file
from lvmm.logs.source import Source
from lvmm.logs.wire import WireError

LOG_NAME = "log.lvmm"
CONSOLE_NAME = "console.log"

_VERSION_END = 6  # of a chunk: magic and format version stand there in every version


class Recording:
    """A recording that is read from a source.

    `losses` lists what could not be read; events() adds to it what turns out to be malformed.
    `region` is None unless the source is a memory image; `header` is None when it was lost.
    `disordered` counts chunks that stood at a wrong place or twice, `others` the chunks of other
    recordings in the same file or region, by recording ID; `overwritten` is what of the recording
    a ring has overwritten; `damage` says what is wrong with the packed file that it was read from.
    """

    def __init__(
        self,
        source: Source,
        recording_id: int,
        scan: ChunkScan,
        region: Region | None = None,
        console: bytes | None = None,
    ) -> None:
        """Use open() instead."""
        self.source = source
        self.recording_id = recording_id
        self.region = region
        self.chunks = scan.chunks
        self.losses = scan.losses
        self.disordered = scan.disordered
        self.others = scan.others
        self.overwritten = scan.overwritten
        self.console = console
        self.damage = ""
        self.header = self._read_header()

    @classmethod
    def open(cls, path: str | Path, recording_id: int | None = None) -> Recording:
        """Open the recording in a directory, log file, memory image or memory device (`-`: stdin),
        or in one that extract_log.py packed.

        `recording_id` chooses one where there are several. Raises NoLog, VersionMismatch,
        UsageError (several, none chosen), EnvironmentProblem (cannot be read).
        """
        directory = None
        if str(path) != "-" and is_compressed(Path(path)):
            return cls._open_pack(Path(path), recording_id)
        if str(path) != "-" and Path(path).is_dir():
            directory = Path(path)
            path = directory / LOG_NAME
            if not path.exists():
                raise NoLog(f"{directory}: no {LOG_NAME} in it: not a recording")
        source = Source(str(path))
        try:
            recording = cls._open_file(source, recording_id)
            if recording is None:
                recording = cls._open_image(source, recording_id)
            if directory is not None and (directory / CONSOLE_NAME).is_file():
                recording.console = (directory / CONSOLE_NAME).read_bytes()
        except OSError as error:
            source.close()
            raise EnvironmentProblem(f"{error.filename}: {error.strerror}") from error
        except BaseException:
            source.close()
            raise
        return recording

    @classmethod
    def _open_pack(cls, path: Path, recording_id: int | None) -> Recording:
        """The recording in a compressed file (lvmm.logs.pack)."""
        damage: RecordingError | None = None
        whole = True
        with tempfile.TemporaryDirectory(prefix="lvmm-") as folder:
            try:
                read_pack(path, Path(folder), (LOG_NAME, CONSOLE_NAME))
            except RecordingError as error:
                damage, whole = error, salvage_log(path, Path(folder))
            try:
                recording = cls.open(folder, recording_id)  # what is open outlives the directory
            except NoLog:
                raise damage or NoLog(f"{path}: no lvmm log in it") from None
            except LvmmError as error:
                raise type(error)(str(error).replace(f"{folder}/{LOG_NAME}", str(path))) from None
        recording.source.name = str(path)
        if damage is not None:
            reason = "packed file damaged behind the log" if whole else "the packed log breaks off"
            events = 0 if whole else None
            recording.losses.append(Loss(recording.source.size, 0, events, reason))
            recording.damage = str(damage)
        return recording

    @classmethod
    def _open_file(cls, source: Source, wanted: int | None) -> Recording | None:
        """The recording in a file that begins with a chunk."""
        start = source.read(0, ChunkHeader.STRUCT.size)
        if start[:4] != MAGIC:
            return None
        first = read_chunk(source, 0)
        if first is None:
            return None  # damaged: the image search finds what follows
        recording_id = first.header.recording_id if wanted is None else wanted
        scan = scan_file(source, recording_id)
        _check_wanted(source, [recording_id] if scan.chunks else [], wanted)
        return cls(source, recording_id, scan)

    @classmethod
    def _open_image(cls, source: Source, wanted: int | None) -> Recording:
        regions = find_regions(source)
        filled = [region for region in regions if region.has_chunks]
        candidates = filled or regions
        if wanted is not None:  # else in what an earlier one left in a region
            candidates = [r for r in regions if r.header.recording_id == wanted]
        if candidates:
            _check_wanted(source, [r.header.recording_id for r in candidates], wanted)
            # A system that has read a region has copies of its first page in its own memory.
            scans = [(region, scan_region(region)) for region in candidates]
            region, scan = max(
                scans, key=lambda found: (len(found[1].chunks), -len(found[1].losses))
            )
            return cls(source, region.header.recording_id, scan, region, region.console())
        return cls._salvage(source, wanted)

    @classmethod
    def _salvage(cls, source: Source, wanted: int | None) -> Recording:
        """The chunks in a source that has no region header and does not begin with a chunk."""
        found = find_chunks(source, 0, source.size)
        if not found.tables:
            for version, offset in found.other_versions.items():
                raise version_mismatch(source.name, version, _monitor_of(source, offset))
            start = source.read(0, _VERSION_END)
            version = int.from_bytes(start[len(MAGIC) :], "little")
            if start.startswith(MAGIC) and _plausible(version):
                raise version_mismatch(source.name, version)
            what = "no lvmm log in it" if source.size else "the file is empty"
            raise NoLog(f"{source.name}: {what}")
        _check_wanted(source, list(found.tables), wanted)
        recording_id = next(iter(found.tables)) if wanted is None else wanted
        return cls(source, recording_id, in_order(found, recording_id))

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    @property
    def log_bytes(self) -> int:
        """Bytes of the recording's chunks as a file."""
        return self.chunks.size

    @property
    def event_count(self) -> int:
        """Events in the chunks that are there."""
        return self.chunks.event_count

    @property
    def open_events(self) -> int:
        """Events that were saved out of the chunk that was being written."""
        last = self.chunks[-1] if self.chunks else None
        return last.header.event_count if last is not None and last.recovered else 0

    def events(self, first: int = 0, last: int | None = None) -> Iterator[Event]:
        """Yield the events in order. A malformed rest of a chunk is left out, and a loss.

        `first`, `last`: chunks that have no event from the one index to the other are passed over.
        """
        file_offset = 0
        for chunk in self.chunks:
            wanted = chunk.next_event > first
            if last is not None and chunk.header.first_event > last:
                return
            if wanted and chunk.header.kind == ChunkKind.EVENTS:
                payload_offset = file_offset + ChunkHeader.STRUCT.size
                done = 0
                try:
                    for event in decode_chunk(chunk.header, chunk.payload(), payload_offset):
                        yield event
                        done += 1
                except WireError as error:
                    self.add_malformed(chunk, done, error)
            file_offset += chunk.size

    def end(self) -> Event | None:
        """The END event, when the recording has come to its end."""
        if not self.chunks or self.chunks[-1].header.kind != ChunkKind.EVENTS:
            return None
        chunk = self.chunks[-1]
        try:
            (last,) = deque(decode_chunk(chunk.header, chunk.payload()), maxlen=1)
        except (WireError, ValueError):
            return None
        return last if isinstance(last.payload, End) else None

    def save(self, path: Path, *, replaces: bool = True) -> None:
        """Write the intact chunks to a file; it appears whole or not at all.

        Raises EnvironmentProblem, and UsageError when there is a file that it may not replace.
        """
        write_atomically(path, (chunk.pack() for chunk in self.chunks), replaces=replaces)

    def _read_header(self) -> RecordingHeader | None:
        if not self.chunks or self.chunks[0].header.kind != ChunkKind.HEADER:
            return None
        try:
            return RecordingHeader.decode(self.chunks[0].payload())
        except WireError as error:
            self.add_malformed(self.chunks[0], 0, error)
            return None

    def add_malformed(self, chunk: Chunk, done: int, error: WireError) -> None:
        """A chunk whose CRC is right cannot be decoded beyond its first `done` events."""
        header = chunk.header
        loss = Loss(
            chunk.offset,
            chunk.size,
            header.event_count - done,
            f"malformed chunk ({error})",
            first_seq=header.seq,
            last_seq=header.seq,
            first_event=header.first_event + done,
            after=header.first_branches,
        )
        if loss not in self.losses:
            self.losses.append(loss)


def _plausible(version: int) -> bool:
    """Whether there may be such a format version, and it cannot be read."""
    return 0 < version < FORMAT_VERSION + 100 and version not in READABLE_VERSIONS


def _monitor_of(source: Source, offset: int) -> str:
    """What a header chunk says of its monitor, if it does; the list of items is the same in every
    format version.
    """
    chunk = read_any_chunk(source, offset)
    if chunk is None or chunk.header.kind != ChunkKind.HEADER:
        return ""
    return monitor_version(chunk.payload())


def _check_wanted(source: Source, found: list[int], wanted: int | None) -> None:
    """Refuse to guess between recordings."""
    if wanted is not None:
        if wanted not in found:
            raise NoLog(f"{source.name}: no recording {wanted:016x} in it")
    elif len(set(found)) > 1:
        names = ", ".join(f"{recording_id:016x}" for recording_id in found)
        raise UsageError(f"{source.name}: several recordings, choose one (--recording): {names}")
