"""What the log grows by for each byte that a device transfers, and how many VM exits that takes.

Linux with its own drivers. The log's bytes are counted between two lines of the guest's console,
which are events of the log; exits are noted from outside while the guest computes only, so that
they are a few more or less.
"""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lvmm import guest_build, recording_dir, session
from lvmm.bench.results import Metric, Row, Section
from lvmm.board import Board
from lvmm.demo import DIGEST_MARK, NETWORK_MARK, record_receiving
from lvmm.errors import RecordingError
from lvmm.logs import Event, EventKind, Recording
from lvmm.logs.layout import ConsoleLine, Dma, InString, StreamContent
from lvmm.messages import say
from lvmm.netpeer import Traffic
from lvmm.session import RunSettings

FRAMES, QUICK_FRAMES = 3000, 300
COMMANDS, QUICK_COMMANDS = 256, 16
USB_COMMANDS = 64  # it is slow

# Ethernet, IPv4 and UDP headers are 42 of a frame's bytes.
FRAME_SIZES = (1024, 1514)
HEADERS = 42
BLOCK_SIZES = (4096, 65536)

# A gigabit line's time for a frame of 1,514 bytes.
LINE_POLL_US = 12

_DISK_BYTES = 64 << 20
_PAUSE = 8000  # the guest's shell counts so far: some 50 ms of emulated time at least
_DEADLINE_S = 1200.0
_BEGIN = "lvmm: begin"
_NOTHING = "nothing"

# The kinds of events that have a column of their own, besides the transferred data.
_KINDS = {
    "dma": (EventKind.DMA,),
    "in": (EventKind.IN, EventKind.IN_STRING),
    "mmio_read": (EventKind.MMIO_READ,),
    "rdtsc": (EventKind.RDTSC, EventKind.RDTSCP),
    "interrupt": (EventKind.INTERRUPT,),
}

METRICS = (
    Metric("transfers", "transfers"),
    Metric("log_per_byte", "log per byte", 3),
    Metric("exits", "exits", 1),
    Metric("data", "data", 1),
    Metric("dma", "DMA", 1),
    Metric("in", "IN", 1),
    Metric("mmio_read", "MMIO", 1),
    Metric("rdtsc", "RDTSC", 1),
    Metric("interrupt", "interrupts", 1),
    Metric("other", "other", 1),
)

NOTES = (
    "Log per byte: all bytes that the log grew by meanwhile, for each byte of the frames or "
    "blocks. Exits, and the\ncolumns from data on: for each transfer. Data: bytes of frames and "
    "blocks in the log; the kinds of events:\nbytes of the log besides; other: all other kinds, "
    "and the chunks' headers.",
    "A received frame is acknowledged by the guest with an eighth of one.",
)


@dataclass(frozen=True)
class _Disk:
    name: str
    verbs: tuple[str, ...]
    on_usb: bool


_IDE = _Disk("IDE", ("read", "write"), on_usb=False)
_USB = _Disk("USB", ("read",), on_usb=True)


@dataclass(frozen=True)
class Phase:
    """What the log holds between two lines of the console, in bytes.

    `data` is what came from devices' buffers and by INS; `kinds` is what events take besides it.
    """

    total: int
    data: int
    kinds: Mapping[EventKind, int]


def phase_of(
    events: Iterable[Event], first: str, last: str, console: bytes, blocks: set[int]
) -> Phase:
    """Between the lines that begin with these texts; `blocks`: streams that carry data.

    Raises RecordingError when the console has no such lines.
    """
    begin: int | None = None
    data = 0
    kinds: dict[EventKind, int] = {}
    for event in events:
        if isinstance(event.payload, ConsoleLine):
            text = console[: event.payload.end].rstrip(b"\r\n")
            line = text[text.rfind(b"\n") + 1 :].decode(errors="replace")
            if begin is not None and line.startswith(last):
                return Phase(event.offset - begin, data, kinds)
            if line.startswith(first):
                begin = event.offset + event.size
                continue
        if begin is None:
            continue
        carried = _data_of(event, blocks)
        data += carried
        kinds[event.kind] = kinds.get(event.kind, 0) + event.size - carried
    raise RecordingError(f"the guest has not said: {first}, and then: {last}")


def _data_of(event: Event, blocks: set[int]) -> int:
    match event.payload:
        case Dma(stream=stream, data=content) if stream in blocks:
            return len(content)
        case InString(data=content):
            return len(content)
    return 0


def sample_of(phase: Phase, transfers: int, transferred: int, exits: float) -> dict[str, float]:
    """The figures of a row; `transferred` bytes and `exits` are of all transfers."""
    named = {
        name: sum(phase.kinds.get(kind, 0) for kind in kinds) for name, kinds in _KINDS.items()
    }
    other = phase.total - phase.data - sum(named.values())
    each = {"exits": exits, "data": phase.data, **named, "other": other}
    return {
        "transfers": transfers,
        "log_per_byte": phase.total / transferred,
        **{name: amount / transfers for name, amount in each.items()},
    }


def _phases(directory: Path, lines: Iterable[tuple[str, str]]) -> list[Phase]:
    console = (directory / recording_dir.CONSOLE).read_bytes()
    with Recording.open(directory) as recording:
        assert recording.header is not None
        blocks = {
            stream.stream
            for stream in recording.header.dma_streams
            if stream.content in (StreamContent.PAYLOAD, StreamContent.BLOCKS)
        }
        return [phase_of(recording.events(), first, last, console, blocks) for first, last in lines]


def _receive(board: Board, size: int, frames: int, scratch: Path) -> Row:
    """Frames of so many bytes, as fast as a gigabit line brings them."""
    what = f"e1000 receive, frames of {size:,}"
    say(f"devices: {what} bytes")
    recording = record_receiving(
        board,
        scratch / f"e1000-{size}",
        frames,
        Traffic(seed=1, size=size - HEADERS, pauses=False),
        RunSettings(seed=1, timeout_s=_DEADLINE_S, nic_poll_us=LINE_POLL_US),
        f"lvmm.race=600000 lvmm.end=poweroff lvmm.pause={_PAUSE}",
    )
    (phase,) = _phases(recording.directory, [(_BEGIN, DIGEST_MARK)])
    marks = recording.manifest.marks
    exits = marks[DIGEST_MARK]["exits"] - marks[NETWORK_MARK]["exits"]
    return Row(what, [sample_of(phase, frames, recording.peer.frame_bytes, exits)])


def _use_disk(board: Board, disk: _Disk, commands: int, scratch: Path) -> list[Row]:
    """Transfers of /dev/sda past the page cache (tests/guests/disk/transfers)."""
    say(f"devices: {disk.name}")
    image = scratch / f"{disk.name}.img"
    image.write_bytes(random.Random(1).randbytes(1 << 20) * (_DISK_BYTES >> 20))
    phases = {
        f"{verb}-{size}": (f"{disk.name} {verb}, blocks of {size:,}", size)
        for verb in disk.verbs
        for size in BLOCK_SIZES
    }
    names = ("first", _NOTHING, *phases)
    words = f"disk.count={commands} disk.verbs={','.join(disk.verbs)}"
    settings = RunSettings(
        seed=1,
        timeout_s=_DEADLINE_S,
        guest_disk=None if disk.on_usb else image,
        usb_disk=image if disk.on_usb else None,
        marks=tuple(f"disk: end {name}" for name in names),
    )
    build = guest_build.usb_linux_guest if disk.on_usb else guest_build.disk_linux_guest
    directory = scratch / disk.name
    manifest = session.record(board, build(board, words, "transfers"), settings, directory)
    ended = [manifest.marks[f"disk: end {name}"]["exits"] for name in names]
    spent = [after - before for before, after in itertools.pairwise(ended)]
    exits = dict(zip(names[1:], spent, strict=True))
    lines = [(f"disk: begin {name}", f"disk: end {name}") for name in phases]
    return [
        Row(what, [sample_of(phase, commands, commands * size, exits[name] - exits[_NOTHING])])
        for (name, (what, size)), phase in zip(
            phases.items(), _phases(directory, lines), strict=True
        )
    ]


def measure(board: Board, quick: bool) -> Section:
    """Each device of the emulated board that transfers data."""
    frames = QUICK_FRAMES if quick else FRAMES
    commands = QUICK_COMMANDS if quick else COMMANDS
    with tempfile.TemporaryDirectory(prefix="lvmm-bench-") as folder:
        scratch = Path(folder)
        rows = _use_disk(board, _IDE, commands, scratch)
        rows += _use_disk(board, _USB, min(commands, USB_COMMANDS), scratch)
        rows += [_receive(board, size, frames, scratch) for size in FRAME_SIZES]
    return Section("devices", "Devices: what the log grows by", METRICS, rows, NOTES)
