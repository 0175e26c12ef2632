"""The arithmetic of `lvmm bench`; the figures themselves are the machine's (tests/emulated)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.host.recordings import make_recording

from lvmm import cli
from lvmm.bench import flight_recorder
from lvmm.bench.results import Row, Section

pytestmark = pytest.mark.host


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


def test_there_is_no_such_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "speed"]) == 2
    assert "there are debug-link, flight-recorder" in capsys.readouterr().err
