"""The core of a replay: at its end, or where an event is due.

A replay is stopped before an event by giving it a log that ends there: at the event's position
stands an END whose final state is nobody's. The monitor finds that it differs, says so, and halts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvmm.debug.registers import by_name
from lvmm.errors import DivergenceError, MachineError, RecordingError, UsageError
from lvmm.link import LinkClient
from lvmm.logs.chunks import Chunk, pack_chunk
from lvmm.logs.codec import Event, decode_chunk, encode_event
from lvmm.logs.coding import Codec
from lvmm.logs.layout import (
    NOTES,
    ChunkKind,
    End,
    EndReason,
    EventKind,
    FinalState,
)
from lvmm.logs.output import check_replaceable, write_atomically
from lvmm.logs.recording import Recording
from lvmm.logs.source import Source
from lvmm.vmcore.guest_core import core_of_replay, save_core
from lvmm.vmcore.kernel_symbols import save_symbols

# What a replay does not stop at.
PASSED_OVER = NOTES | {EventKind.BEGIN, EventKind.RAM_PAGE}


@dataclass
class ReplayCore:
    """Where core and, for a Linux kernel, symbols go.

    `registers`, by name, are there once take_registers() was called.
    """

    path: Path
    symbols: Path | None = None
    registers: dict[str, int] | None = None

    def take_registers(self, link: LinkClient) -> None:
        """Reads them, while the monitor answers. Raises LvmmError."""
        self.registers = by_name(link.read_registers())

    def save(self, directory: Path, ram: Path) -> None:
        """Writes the core of the replay of `directory`, whose memory is the file `ram`."""
        if self.registers is None:
            raise MachineError(
                "the replay has not come to an end: there is nothing to make a core of"
            )
        with Recording.open(directory) as recording:
            header = recording.header
        if header is None:
            raise RecordingError(f"{directory}: the log has lost its header")
        source = Source(str(ram))
        try:
            core = core_of_replay(source, header, self.registers)
            save_core(core, self.path)
            if self.symbols is not None:
                save_symbols(core.memory, core.ranges, self.symbols)
        finally:
            source.close()


def wanted_core(options: argparse.Namespace) -> ReplayCore | None:
    """What the command line says of a core. Raises UsageError."""
    if options.core is None:
        if options.until is not None or options.symbols is not None:
            raise UsageError("--until and --symbols go with --core FILE")
        return None
    if options.until is not None and options.gdb is not None:
        raise UsageError("--until goes without --gdb")
    for file in (options.core, options.symbols):
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            raise UsageError(f"cannot write {file}: it is a directory, or in one that is missing")
        check_replaceable(file)
    return ReplayCore(options.core, options.symbols)


def check_stop(due: Event, divergence: dict[str, Any] | None) -> None:
    """Raises DivergenceError when a replay with the cut log did not stop where it ends.

    The monitor has counted the END when it finds that the final state differs.
    """
    if divergence is None:
        raise DivergenceError(f"the replay ran past event {due.index}")
    where = int(divergence["event"])
    if where != due.index + 1 or divergence.get("actual") != EventKind.END.name:
        raise DivergenceError(
            f"the replay left the recording at event {where}, before event {due.index} was due: "
            "./lvmm replay DIR tells more"
        )


def cut_log(directory: Path, event: int, output: Path) -> Event:
    """Writes the log of a recording up to before an event; returns that event.

    Replay passes over notes, and takes in the state that a recording begins with before the guest
    runs: of those, what follows is the event. Raises UsageError when there is no such event,
    RecordingError when the log is damaged.
    """
    with Recording.open(directory) as recording:
        if recording.losses:
            raise RecordingError(f"{directory}: the log is damaged: {recording.losses[0]}")
        if not 0 <= event < recording.event_count:
            raise UsageError(
                f"there is no event {event}: the recording has those from 0 to "
                f"{recording.event_count - 1}"
            )
        for number, chunk in enumerate(recording.chunks):
            header = chunk.header
            if header.kind == ChunkKind.EVENTS and header.first_event + header.event_count > event:
                for due in decode_chunk(header, chunk.payload()):
                    if due.index >= event and due.kind not in PASSED_OVER:
                        write_atomically(output, _cut(recording.chunks[: number + 1], due))
                        return due
        raise UsageError(f"from event {event} on there are only notes: replay cannot stop there")


def _cut(chunks: list[Chunk], due: Event) -> Iterator[bytes]:
    """`due` is in the last of the chunks."""
    for chunk in chunks[:-1]:
        yield chunk.pack()
    header = chunks[-1].header
    kept = due.index - header.first_event
    if kept:
        header = replace(header, event_count=kept)
        yield pack_chunk(header, chunks[-1].payload()[: due.offset])
    end = End(EndReason.STOPPED, bytes(FinalState.STRUCT.size))
    at_due = replace(_first_there(chunks, due), payload=end, asynchronous=True)
    data = bytearray()
    encode_event(Codec(due.branches, due.rip), at_due, data)
    header = replace(
        header,
        first_event=due.index,
        first_branches=due.branches,
        first_rip=due.rip,
        seq=header.seq + bool(kept),
        event_count=1,
    )
    yield pack_chunk(header, bytes(data))


def _first_there(chunks: list[Chunk], due: Event) -> Event:
    """The event that has the position of `due`, with its check: itself, or one before it."""
    if not due.same_position:
        return due
    for chunk in reversed(chunks):
        before = [
            event
            for event in decode_chunk(chunk.header, chunk.payload())
            if event.index < due.index and not event.same_position
        ]
        if before:
            return before[-1]
    raise RecordingError(f"the log does not say where event {due.index} was")
