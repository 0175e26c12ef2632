"""What is left of a ring becomes a recording that begins at its oldest epoch."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.host import extract_tool, log_driver
from tests.host.extract_tool import Tool
from tests.host.log_driver import OK, RING_HEADER, Written

from lvmm.logs import Recording, layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.crc import crc32c
from lvmm.logs.layout import FirmwareCopy, MachineFlag, RegionHeader
from lvmm.logs.source import PAGE

pytestmark = pytest.mark.host

tool = extract_tool.tool

MEMORY = RING_HEADER.machine.guest_memory_bytes
RAM = [0x5000, 0x9E000, 0x100000, 0x101000, 0x7000000, MEMORY - PAGE]
FIRMWARE = [0, 0xF0000, 0xFFFFF000]  # the BIOS data area, below and above the end of RAM
TABLE, COPIES = MEMORY + 0x10000, MEMORY + 0x20000
REGION, RING = MEMORY + 0x100000, 512 * 1024


@dataclass
class Run:
    """A guest's memory through a run of random writes, and the requests that log it."""

    rng: random.Random

    def __post_init__(self) -> None:
        self.pages = {gpa: bytes(PAGE) for gpa in RAM}
        self.firmware: list[int] = []
        self.opened: set[int] = set()
        self.written: list[Written] = []
        self.requests = [log_driver.header_request()]
        self.epochs: dict[int, dict[int, bytes]] = {}  # memory by the EPOCH's number
        self.branches = 0

    def log(self, payload: layout.Payload) -> None:
        registers = Registers((len(self.written),) * 16, 0x1000, 2)
        full = registers if isinstance(payload, layout.Epoch) else None
        event = Event(payload, self.branches, registers.rip, registers=full)
        self.written.append(Written(event, registers))
        self.requests.append(log_driver.event_request(self.written[-1]))

    def epoch(self) -> None:
        self.requests.append(log_driver.flush_request())
        self.epochs[len(self.written)] = dict(self.pages)
        self.opened.clear()
        self.log(layout.Epoch(b"state %d" % len(self.written)))

    def touch(self, gpa: int) -> None:
        page = self.rng.randbytes(PAGE)
        self.log(layout.FirmwarePage(gpa, page))
        self.firmware.append(gpa)
        self.pages[gpa] = page
        self.opened.add(gpa)

    def write(self) -> None:
        gpa = self.rng.choice(list(self.pages))
        if gpa not in self.opened and self.epochs:
            old = self.pages[gpa]
            self.log(layout.UndoPage(gpa, old if any(old) else b""))
            self.opened.add(gpa)
        kept = self.rng.randrange(0, PAGE, 512)
        zero = self.rng.random() < 0.2
        self.pages[gpa] = (
            bytes(PAGE) if zero else self.pages[gpa][:kept] + self.rng.randbytes(PAGE - kept)
        )

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.branches += self.rng.randrange(50)
            choice = self.rng.random()
            if choice < 0.02 and len(self.firmware) < len(FIRMWARE):
                self.touch(FIRMWARE[len(self.firmware)])
            elif choice < 0.08:
                self.epoch()
            elif choice < 0.5:
                self.write()
            else:
                self.log(layout.Dma(1, 0x5000, self.rng.randbytes(self.rng.randrange(2000))))

    def image(self, folder: Path, ended: bool) -> Path:
        """All the machine's memory after the run, with the ring in it."""
        region = folder / "region"
        codes, data = log_driver.write(self.requests, region, RING, "ring")
        assert set(codes) == {OK}
        crc = 0
        for gpa in self.in_order():
            crc = crc32c(self.pages[gpa], crc)
        header = replace(
            RegionHeader.unpack(data),
            firmware=TABLE,
            firmware_count=len(self.firmware),
            address=REGION,
            memory_crc32c=crc if ended else 0,
            memory_known=int(ended),
        )
        path = folder / "ram.img"
        with path.open("wb") as file:
            file.truncate(REGION + RING)
            for number, gpa in enumerate(self.firmware):
                copy = FirmwareCopy(gpa, COPIES + number * PAGE, 1, 0)
                file.seek(TABLE + number * FirmwareCopy.STRUCT.size)
                file.write(copy.pack())
                file.seek(copy.data)
                file.write(self.pages[gpa])
            for gpa in RAM:
                file.seek(gpa)
                file.write(self.pages[gpa])
            file.seek(REGION)
            file.write(header.pack() + data[RegionHeader.STRUCT.size :])
        return path

    def in_order(self) -> list[int]:
        """All pages as the monitor walks over them; of RAM, those that were never written too."""
        low = range(PAGE, 0x9F000, PAGE)
        pages = [*low, *range(0x100000, MEMORY, PAGE)]
        for gpa in pages:
            self.pages.setdefault(gpa, bytes(PAGE))
        below = sorted({*pages, *(gpa for gpa in self.firmware if gpa < MEMORY)})
        return below + [gpa for gpa in self.firmware if gpa >= MEMORY]


def started(seed: int, steps: int = 900) -> Run:
    run = Run(random.Random(seed))
    run.go_on(steps)
    return run


@pytest.mark.parametrize("seed", range(4))
def test_memory_is_that_of_the_oldest_epoch(tmp_path: Path, seed: int) -> None:
    run = started(seed)
    image = run.image(tmp_path, ended=seed % 2 == 0)
    with Recording.open(image) as recording:
        assert recording.overwritten is not None
        kept = list(recording.events())
    oldest = next(event.index for event in kept if event.name == "EPOCH")
    assert extract_tool.load_tool().main(["extract", str(image), "-o", str(tmp_path / "out")]) == 0
    with Recording.open(tmp_path / "out") as recording:
        assert not recording.losses
        assert recording.overwritten is None
        assert recording.header is not None
        assert not recording.header.machine.flags & MachineFlag.OVERWRITES
        events = list(recording.events())
    begin, *rest = events
    assert isinstance(begin.payload, layout.Begin)
    assert begin.payload.state == b"state %d" % oldest
    assert begin.registers == run.written[oldest].registers
    pages = [event.payload for event in rest if isinstance(event.payload, layout.RamPage)]
    assert [event.index for event in events] == list(range(len(events)))
    assert [event.payload for event in rest[: len(pages)]] == pages
    rebuilt = {page.gpa: page.data for page in pages}
    before = run.epochs[oldest]
    assert {gpa: rebuilt.pop(gpa, bytes(PAGE)) for gpa in before} == before
    assert not rebuilt, "a firmware page that was not touched yet"
    # The monitor's reader takes it, and what comes then is what came then.
    (result,) = log_driver.read([(tmp_path / "out" / "log.lvmm").read_bytes()])
    assert result.end == log_driver.ERR_END
    assert [event.payload for event in result.events] == [event.payload for event in events]
    after = rest[len(pages) :]
    assert [(e.payload, e.branches, e.rip) for e in after] == [
        (item.event.payload, item.event.branches, item.event.rip) for item in run.written[oldest:]
    ]


def test_other_memory_is_refused(tool: Tool, tmp_path: Path) -> None:
    """As after a warm reset: the log is there, but the firmware has used the guest's memory."""
    run = started(1)
    image = run.image(tmp_path, ended=True)
    with image.open("r+b") as file:
        file.seek(0x100000 + 77)
        file.write(b"another")
    code, _, err = tool("extract", image, "-o", tmp_path / "out")
    assert code == 3
    assert "is not what it was at the recording's end" in err
    assert "cannot be replayed" in err
    with Recording.open(tmp_path / "out") as recording:
        assert not recording.losses
        assert recording.overwritten is not None


def test_a_region_alone_is_saved_as_it_is(tool: Tool, tmp_path: Path) -> None:
    """As it comes over a serial line, or from the rescue boot."""
    started(2).image(tmp_path, ended=True)
    code, _, err = tool("extract", tmp_path / "region", "-o", tmp_path / "out.lvmm")
    assert code == 3
    assert "but not the guest's memory" in err
    assert tool("verify", tmp_path / "out.lvmm")[0] == 0


def test_a_ring_without_an_epoch(tool: Tool, tmp_path: Path) -> None:
    run = Run(random.Random(3))
    for index in range(1000):
        run.log(layout.Mark(bytes([index % 256]) * 1000))
    image = run.image(tmp_path, ended=True)
    code, _, err = tool("extract", image, "-o", tmp_path / "out")
    assert code == 3
    assert "no epoch left" in err


def test_a_ring_that_is_not_full_is_a_recording_from_the_start(tool: Tool, tmp_path: Path) -> None:
    run = Run(random.Random(4))
    run.log(layout.Mark(b"the first event"))
    run.go_on(60)
    image = run.image(tmp_path, ended=True)
    assert tool("extract", image, "-o", tmp_path / "out")[0] == 0
    with Recording.open(tmp_path / "out") as recording:
        assert [event.payload for event in recording.events()] == [
            item.event.payload for item in run.written
        ]
