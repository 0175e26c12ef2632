"""The part of a recording around one event."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lvmm.logs import Event, Recording
from lvmm.logs import layout as log
from lvmm.logs.chunks import Chunk
from lvmm.logs.codec import decode_chunk
from lvmm.logs.header import enum_name
from lvmm.logs.layout import ChunkKind, EventKind
from lvmm.logs.wire import WireError

# The monitor stores all registers at each 64th event, and a chunk has thousands of events.
_CHUNKS_BEFORE = 4
_CHUNKS_AFTER = 1
_EARLIER = 5  # events


@dataclass(frozen=True)
class Context:
    """Events around event `number`; any part may be missing.

    `last` are those before it, in order; `earlier` are the newest before those at other places
    (kind and RIP); `expected` is the event itself; `following` are some of those after it.
    `snapshot` is the last one before it that stores all registers, and `site_snapshot` the last
    such one at the same RIP. `task` is the last before it by which the guest said what it runs.
    """

    last: list[Event]
    earlier: list[Event]
    expected: Event | None
    following: list[Event]
    snapshot: Event | None
    site_snapshot: Event | None
    task: log.Task | None


NO_CONTEXT = Context([], [], None, [], None, None, None)


def read_context(recording: Recording, number: int, count: int = 10) -> Context:
    """The context of event `number` with `count` events before it. Damaged parts are left out."""
    last: deque[Event] = deque(maxlen=count)
    expected = None
    following = []
    full = []
    task = None
    newest: dict[tuple[EventKind, int], Event] = {}
    for event in _events(_chunks_around(recording, number)):
        if event.index < number:
            if len(last) == count:
                newest[last[0].kind, last[0].rip] = last[0]
            last.append(event)
            if isinstance(event.payload, log.Task):
                task = event.payload
            if event.registers is not None:
                full.append(event)
        elif event.index == number:
            expected = event
        else:
            following.append(event)
    same_site = [e for e in full if expected is not None and e.rip == expected.rip]
    for event in last:
        newest.pop((event.kind, event.rip), None)
    return Context(
        list(last),
        sorted(newest.values(), key=lambda event: event.index)[-_EARLIER:],
        expected,
        following,
        full[-1] if full else None,
        same_site[-1] if same_site else None,
        task,
    )


def _chunks_around(recording: Recording, number: int) -> list[Chunk]:
    chunks = [chunk for chunk in recording.chunks if chunk.header.kind == ChunkKind.EVENTS]
    before = [chunk for chunk in chunks if chunk.header.first_event <= number]
    after = chunks[len(before) : len(before) + _CHUNKS_AFTER]
    return before[-_CHUNKS_BEFORE:] + after


def _events(chunks: list[Chunk]) -> Iterator[Event]:
    for chunk in chunks:
        try:
            yield from decode_chunk(chunk.header, chunk.payload())
        except WireError:
            continue  # the monitor stopped there, too; `lvmm` verifies recordings elsewhere


def describe_payload(payload: log.Payload) -> str:
    """What an event is about, in a few words; empty where the kind says it all."""
    match payload:
        case log.In():
            return f"port {payload.port:#x}, {_bytes(payload.size)}: {payload.value:#x}"
        case log.InString():
            return f"port {payload.port:#x}, {_bytes(len(payload.data))}"
        case log.MmioRead():
            return f"{payload.gpa:#x}, {_bytes(payload.size)}: {payload.value:#x}"
        case log.Rdmsr():
            result = "#GP" if payload.faulted else f"{payload.value:#x}"
            return f"MSR {payload.index:#x}: {result}"
        case log.Rdtsc() | log.Rdtscp():
            return str(payload.tsc)
        case log.Rdrand() | log.Rdseed():
            result = f"{payload.value:#x}" if payload.carry else "none (CF=0)"
            return f"{_bytes(payload.size)}: {result}"
        case log.Interrupt():
            return f"vector {payload.vector:#x}"
        case log.Dma():
            return f"stream {payload.stream}, {_bytes(len(payload.data))} to {payload.gpa:#x}"
        case log.FirmwarePage():
            return f"page {payload.gpa:#x}"
        case log.Rdpmc():
            return f"counter {payload.index:#x}: {payload.value:#x}"
        case log.Mark():
            return repr(payload.text.decode("utf-8", "replace"))
        case log.Task():
            return task_text(payload)
        case log.Hypercall():
            return f"call {payload.function} of {payload.number:#x}: {payload.value:#x}"
        case log.Begin():
            return "the guest's state at the start of the recording"
        case log.Epoch():
            return "the guest's state at the start of an epoch"
        case log.UndoPage():
            return f"page {payload.gpa:#x} as it was at the start of the epoch"
        case log.RamPage():
            return f"page {payload.gpa:#x} at the start of the recording"
        case log.Content():
            return (
                f"memory {payload.memory_crc32c:#010x}, {_bytes(payload.console_bytes)} of output"
            )
        case log.End():
            return enum_name(log.EndReason, payload.reason)
        case _:
            return ""


def task_text(task: log.Task) -> str:
    """A task as the guest has named it."""
    return f"task {task.number} {task.name.decode('utf-8', 'replace')!r}"


def _bytes(count: int) -> str:
    return f"{count} byte" + ("" if count == 1 else "s")
