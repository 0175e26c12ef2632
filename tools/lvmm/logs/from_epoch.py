"""What is left of a recording that was made into a ring, as a recording that begins later.

Guest memory at the oldest epoch is that of the run's end, but for the pages that were written since
then, which the log has as they were (UNDO_PAGE, the first of each page).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from lvmm.logs.chunks import Chunk
from lvmm.logs.codec import Event, decode_chunk
from lvmm.logs.epochs import epochs_to_the_end
from lvmm.logs.errors import MemoryGone
from lvmm.logs.final_memory import FinalMemory, final_memory
from lvmm.logs.layout import (
    Begin,
    Epoch,
    FirmwarePage,
    MachineFlag,
    RamPage,
    UndoPage,
)
from lvmm.logs.output import write_atomically
from lvmm.logs.printing import Progress
from lvmm.logs.recording import Recording
from lvmm.logs.source import PAGE
from lvmm.logs.wire import WireError
from lvmm.logs.writer import LogWriter

_ZEROS = bytes(PAGE)


def begins_later(recording: Recording) -> bool:
    """Whether the recording lacks its beginning because it was made into a ring: overwritten, or
    recorded on demand.
    """
    header = recording.header
    if header is None or not header.machine.flags & MachineFlag.OVERWRITES:
        return False
    epochs = epochs_to_the_end(recording)
    return recording.overwritten is not None or (bool(epochs) and epochs[0] == 1)


def save_replayable(
    recording: Recording, path: Path, *, replaces: bool = True
) -> MemoryGone | None:
    """Writes the recording, or what is left of one, to a file, which appears whole or not at all.

    Where that cannot be replayed, the chunks are saved as they are, and the reason is returned.
    Raises EnvironmentProblem, and UsageError when there is a file that it may not replace.
    """
    if begins_later(recording):
        try:
            write_atomically(path, chunks_from_epoch(recording), replaces=replaces)
            return None
        except MemoryGone as error:
            recording.save(path, replaces=replaces)
            return error
    recording.save(path, replaces=replaces)
    return None


def chunks_from_epoch(recording: Recording) -> Iterator[bytes]:
    """The chunks of a recording that begins with the oldest epoch after which nothing is missing.

    All but its beginning stands there as it was recorded, with numbers that go on from that. Raises
    MemoryGone where the source has no such epoch, or the guest's memory of the end is not in it.
    """
    name = recording.source.name
    region, header = recording.region, recording.header
    if header is None:
        raise MemoryGone(f"{name}: the recording header is lost")
    if region is None or region.base != region.header.address:
        raise MemoryGone(
            f"{name} holds the log, but not the guest's memory: an image of all the machine's "
            "memory is needed, byte N of which is physical address N"
        )
    epochs = epochs_to_the_end(recording)
    if not epochs:
        raise MemoryGone(f"{name}: there is no epoch left from which the log is whole")
    memory = final_memory(recording.source, region.header, header)
    kept = recording.chunks[epochs[0] :]
    undone = _Undone(kept)
    flags = header.machine.flags & ~MachineFlag.OVERWRITES
    machine = dataclasses.replace(header.machine, flags=flags)
    log = LogWriter(recording.recording_id, dataclasses.replace(header, machine=machine))
    log.write(_begin(kept[0]))
    for gpa, data in undone.pages(memory):
        log.write(Event(RamPage(gpa, data), 0, 0, same_position=True))
        if len(log.data) > 1 << 20:
            yield bytes(log.data)
            log.data.clear()
    log.flush()
    yield bytes(log.data)
    first_seq, first_event = log.next_seq - kept[0].header.seq, log.next_event
    first_event -= kept[0].header.first_event
    for chunk in kept:
        yield chunk.repacked(
            seq=chunk.header.seq + first_seq, first_event=chunk.header.first_event + first_event
        )


def _begin(chunk: Chunk) -> Event:
    """The event with which the recording begins, made of that with which the epoch does."""
    try:
        epoch = next(iter(decode_chunk(chunk.header, chunk.payload())))
    except WireError as error:
        raise MemoryGone(f"the epoch at {chunk.offset:#x} is malformed: {error}") from None
    if not isinstance(epoch.payload, Epoch):
        raise MemoryGone(f"the epoch at {chunk.offset:#x} is none")
    return dataclasses.replace(epoch, payload=Begin(epoch.payload.state))


class _Undone:
    """What undoes the run from the first of these chunks on."""

    def __init__(self, chunks: list[Chunk]) -> None:
        self._before: dict[int, bytes] = {}
        self._touched: set[int] = set()  # firmware pages that came later
        with Progress("going back to the oldest epoch", len(chunks), sys.stderr) as progress:
            for number, chunk in enumerate(chunks):
                self._look_into(chunk)
                progress.at(number)

    def _look_into(self, chunk: Chunk) -> None:
        try:
            for event in decode_chunk(chunk.header, chunk.payload()):
                if isinstance(event.payload, UndoPage):
                    self._before.setdefault(event.payload.gpa, event.payload.data or _ZEROS)
                elif isinstance(event.payload, FirmwarePage):
                    self._touched.add(event.payload.gpa)
        except WireError as error:
            raise MemoryGone(f"the chunk at {chunk.offset:#x} is malformed: {error}") from None

    def pages(self, memory: FinalMemory) -> Iterator[tuple[int, bytes]]:
        """The pages as they were then, but for RAM that was zeros."""
        for gpa, data in memory.pages():
            if gpa in self._touched:
                continue
            data = self._before.get(gpa, data)
            if data != _ZEROS or gpa in memory.firmware:
                yield gpa, data
