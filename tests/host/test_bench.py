"""The arithmetic of `lvmm bench`; the figures themselves are the machine's (tests/emulated)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.host.recordings import make_recording

from lvmm import cli
from lvmm.bench import devices, flight_recorder
from lvmm.bench.results import Row, Section
from lvmm.errors import RecordingError
from lvmm.logs import Event
from lvmm.logs.layout import ConsoleLine, Dma, In, InString, Interrupt, Payload

pytestmark = pytest.mark.host

BY_KIND = ("data", "dma", "in", "mmio_read", "rdtsc", "interrupt", "other")


def sample(folder: Path, instructions: int, epochs: int, pages: int) -> dict[str, float]:
    """Of a recording whose network was up after 1,000,000 instructions."""
    manifest = dataclasses.replace(
        make_recording(folder),
        instructions=instructions,
        exits={"EPT violation": 10 + pages, "HLT": 5},
        events={"EPOCH": epochs, "UNDO_PAGE": pages},
        marks={flight_recorder.NETWORK_MARK: {"instructions": 1_000_000}},
    )
    return dict(flight_recorder.sample_of(manifest, received_bytes=5000))


def test_what_epochs_change(tmp_path: Path) -> None:
    samples = {
        flight_recorder.PLAIN: sample(tmp_path / "0", 11_000_000, 0, 0),
        flight_recorder.NO_EPOCHS: sample(tmp_path / "1", 11_000_000, 0, 0),
        flight_recorder.EPOCHS: sample(tmp_path / "2", 11_500_000, 40, 300),
    }
    epochs = samples[flight_recorder.EPOCHS]
    assert epochs["instructions"] == 10_500_000
    assert (epochs["exits"], epochs["ept_violations"]) == (315, 310)
    assert (epochs["epochs"], epochs["pages"]) == (40, 300)
    assert epochs["received_rate"] == pytest.approx(5000 / 10.5)
    rows = [Row(what, [values]) for what, values in samples.items()]
    said = flight_recorder.change(rows)
    assert "+5.0% instructions, receive ratio 0.952" in said
    table = Section("flight-recorder", "Title", flight_recorder.METRICS, rows, (said,)).table()
    assert "10,500,000" in table


CONSOLE = b"disk: begin read\r\nother\r\ndisk: end read\r\n"
LINE_ENDS = (18, 25, 41)
BLOCKS, STATUS = 1, 2  # streams


def transfer_events() -> list[Event]:
    """A command between the first line of the console and the last one, with a chunk's header."""
    payloads: list[tuple[Payload, int, int]] = [
        (In(0x1F7, 1, 0x50), 3, 3),
        (ConsoleLine(LINE_ENDS[0]), 4, 4),
        (In(0x1F7, 1, 0x50), 3, 3),
        (Dma(BLOCKS, 0x1000, b"d" * 4096), 4100, 4100),
        (Dma(STATUS, 0x2000, b"s" * 8), 12, 12 + 64),
        (InString(0x170, 2, b"w" * 512), 520, 520),
        (ConsoleLine(LINE_ENDS[1]), 4, 4),
        (Interrupt(0x2E), 6, 6),
        (ConsoleLine(LINE_ENDS[2]), 4, 4),
    ]
    events, offset = [], 1000
    for payload, size, distance in payloads:
        events.append(Event(payload, 1, 2, offset=offset, size=size))
        offset += distance
    return events


def test_what_a_device_logs() -> None:
    lines = ("disk: begin read", "disk: end read")
    phase = devices.phase_of(transfer_events(), *lines, CONSOLE, {BLOCKS})
    assert phase.total == 3 + 4100 + 12 + 64 + 520 + 4 + 6
    assert phase.data == 4096 + 512
    sample = devices.sample_of(phase, 2, 4096, 30)
    assert sample["log_per_byte"] == pytest.approx(phase.total / 4096)
    assert sample["exits"] == 15
    assert sample["data"] == (4096 + 512) / 2
    assert sample["dma"] == (4 + 12) / 2
    assert sample["in"] == (3 + 8) / 2
    assert sample["interrupt"] == 3
    assert sample["other"] == (64 + 4) / 2
    assert sum(sample[name] for name in BY_KIND) == phase.total / 2
    section = Section("devices", "Title", devices.METRICS, [Row("disk", [sample])])
    assert "1.150" in section.table(), "three digits after the point"


@pytest.mark.parametrize("lines", [("disk: begin write", "disk: end read"), ("other", "disk: no")])
def test_a_guest_that_did_not_say_it(lines: tuple[str, str]) -> None:
    with pytest.raises(RecordingError, match=f"{lines[0]}.*{lines[1]}"):
        devices.phase_of(transfer_events(), *lines, CONSOLE, {BLOCKS})


def test_there_is_no_such_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "speed"]) == 2
    assert "there are debug-link, devices, flight-recorder" in capsys.readouterr().err
