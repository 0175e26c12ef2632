"""Open a recording wherever it is: a memory image, a recording directory, a log file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.logs.chunks import MAGIC, Chunk, ChunkScan, read_chunk, scan_file, scan_region
from lvmm.logs.codec import Event, decode_chunk
from lvmm.logs.errors import Loss, NoLog, version_mismatch
from lvmm.logs.header import RecordingHeader
from lvmm.logs.layout import FORMAT_VERSION, ChunkHeader, ChunkKind, End
from lvmm.logs.output import write_atomically
from lvmm.logs.region import Region, find_regions
from lvmm.logs.source import Source
from lvmm.logs.wire import WireError

LOG_NAME = "log.lvmm"
CONSOLE_NAME = "console.log"


class Recording:
    """A recording that is read from a source.

    `losses` lists what could not be read; events() adds to it what turns out to be malformed.
    `region` is None unless the source is a memory image; `header` is None when it was lost.
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
        self.console = console
        self.header = self._read_header()

    @classmethod
    def open(cls, path: str | Path, recording_id: int | None = None) -> Recording:
        """Open the recording in a directory, log file, memory image or memory device (`-`: stdin).

        `recording_id` chooses one where there are several. Raises NoLog, VersionMismatch,
        UsageError (several, none chosen), EnvironmentProblem (cannot be read).
        """
        directory = None
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
    def _open_file(cls, source: Source, wanted: int | None) -> Recording | None:
        """The recording in a file that begins with a chunk."""
        start = source.read(0, ChunkHeader.STRUCT.size)
        if start[:4] != MAGIC:
            return None
        version = int.from_bytes(start[4:6], "little")
        if version != FORMAT_VERSION and len(start) >= 6:
            raise version_mismatch(source.name, version)
        first = read_chunk(source, 0)
        if first is None:
            return None  # damaged: the image search finds what follows
        _check_wanted(source, [first.header.recording_id], wanted)
        recording_id = first.header.recording_id
        return cls(source, recording_id, scan_file(source, recording_id))

    @classmethod
    def _open_image(cls, source: Source, wanted: int | None) -> Recording:
        regions = find_regions(source)
        filled = [region for region in regions if region.has_chunks]
        candidates = filled or regions
        if wanted is not None:
            candidates = [r for r in regions if r.header.recording_id == wanted]
        if candidates:
            _check_wanted(source, [r.header.recording_id for r in candidates], wanted)
            region = candidates[0]
            scan = scan_region(region)
            return cls(source, region.header.recording_id, scan, region, region.console())
        return cls._salvage(source, wanted)

    @classmethod
    def _salvage(cls, source: Source, wanted: int | None) -> Recording:
        """The chunks in a source that has no region header and does not begin with a chunk."""
        found: list[int] = []
        for offset in source.find(MAGIC, 0, source.size, 1):
            chunk = read_chunk(source, offset)
            if chunk is not None and chunk.header.recording_id not in found:
                found.append(chunk.header.recording_id)
        if wanted is not None and wanted in found:
            found = [wanted]
        if not found:
            raise NoLog(f"{source.name}: no lvmm log in it")
        _check_wanted(source, found, wanted)
        return cls(source, found[0], scan_file(source, found[0]))

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
        return sum(chunk.size for chunk in self.chunks)

    @property
    def event_count(self) -> int:
        """Events in the chunks that are there."""
        return sum(chunk.header.event_count for chunk in self.chunks)

    @property
    def open_events(self) -> int:
        """Events that were saved out of the chunk that was being written."""
        return sum(chunk.header.event_count for chunk in self.chunks if chunk.recovered)

    def events(self) -> Iterator[Event]:
        """Yield the events in order. A malformed rest of a chunk is left out, and a loss."""
        file_offset = 0
        for chunk in self.chunks:
            if chunk.header.kind == ChunkKind.EVENTS:
                payload_offset = file_offset + ChunkHeader.STRUCT.size
                done = 0
                try:
                    for event in decode_chunk(chunk.header, chunk.payload(), payload_offset):
                        yield event
                        done += 1
                except WireError as error:
                    self._add_malformed(chunk, chunk.header.event_count - done, error)
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

    def save(self, path: Path) -> None:
        """Write the intact chunks to a file; it appears whole or not at all.

        Raises EnvironmentProblem.
        """
        write_atomically(path, (chunk.pack() for chunk in self.chunks))

    def _read_header(self) -> RecordingHeader | None:
        if not self.chunks or self.chunks[0].header.kind != ChunkKind.HEADER:
            return None
        try:
            return RecordingHeader.decode(self.chunks[0].payload())
        except WireError as error:
            self._add_malformed(self.chunks[0], 0, error)
            return None

    def _add_malformed(self, chunk: Chunk, events: int, error: WireError) -> None:
        loss = Loss(chunk.offset, chunk.size, events, f"malformed chunk ({error})")
        if loss not in self.losses:
            self.losses.append(loss)


def _check_wanted(source: Source, found: list[int], wanted: int | None) -> None:
    """Refuse to guess between recordings."""
    if wanted is not None:
        if wanted not in found:
            raise NoLog(f"{source.name}: no recording {wanted:016x} in it")
    elif len(set(found)) > 1:
        names = ", ".join(f"{recording_id:016x}" for recording_id in found)
        raise UsageError(f"{source.name}: several recordings, choose one (--recording): {names}")
