"""Timelines of generated logs: the trace is parsed back, the picture looked at by numbers."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.host.cbuild import ROOT
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.logs import layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.writer import LogWriter, build_region
from lvmm.timeline.histogram import BINS, Histogram
from lvmm.timeline.idle import IdleSites

# One worker: they share what is made once.
pytestmark = [pytest.mark.host, pytest.mark.xdist_group(__name__)]

HZ = HEADER.machine.tsc_hz
ROUNDS = 40
HALT = 0xFFFFFFFF81001000
LINES = [f"line {number}" for number in range(ROUNDS)]
CONSOLE = "\r\n".join([*LINES, "no end of line"]).encode()


def make_events() -> list[Event]:
    """Rounds of 10 ms each: a port, 1,000 branches, a line, DMA, and half of it in HLT."""
    events: list[Event] = []
    branches = end = 0

    def add(payload: layout.Payload, rip: int, asynchronous: bool = False) -> None:
        check = Registers((0,) * 16, rip, 2).check(0)
        events.append(Event(payload, branches, rip, asynchronous, check=check))

    for number, line in enumerate(LINES):
        start = number * HZ // 100
        add(layout.Rdtsc(start), 0x1000)
        branches += 500
        add(layout.In(0x3FD, 1, 0x60), 0x2000)
        end += len(line) + 2
        add(layout.ConsoleLine(end), 0x2004)
        branches += 500
        add(layout.Rdtsc(start + HZ // 200), 0x3000)
        add(layout.Interrupt(0x40 + number % 2), HALT, asynchronous=True)
        events.append(
            Event(layout.Dma(0, 0x5000, bytes(100)), branches, HALT, True, same_position=True)
        )
    add(layout.Rdtsc(ROUNDS * HZ // 100), 0x1000)
    add(layout.End(layout.EndReason.RESET, bytes(layout.FinalState.STRUCT.size)), 0x4000)
    return events


def log_of(events: list[Event]) -> LogWriter:
    stream = struct.pack("<16s16sBB", b"e1000", b"rx", 0, 1).ljust(
        layout.DmaStream.STRUCT.size, b"\0"
    )
    header = replace(HEADER, dma_streams=[layout.DmaStream.unpack(stream)])
    writer = LogWriter(RECORDING_ID, header)
    for event in events:
        writer.write(event)
    writer.flush()
    return writer


def tool(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (sys.executable, ROOT / "tools" / "extract_log.py", *words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("timeline") / "recording"
    directory.mkdir()
    (directory / "log.lvmm").write_bytes(log_of(make_events()).data)
    (directory / "console.log").write_bytes(CONSOLE)
    return directory


class Trace:
    """A trace, read back."""

    def __init__(self, path: Path) -> None:
        from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as Message

        message = Message()
        message.ParseFromString(path.read_bytes())
        self.tracks: dict[int, Any] = {}
        self.events: dict[str, list[Any]] = {}
        for packet in message.packet:
            if packet.HasField("track_descriptor"):
                self.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
            else:
                name = self.path(packet.track_event.track_uuid)
                self.events.setdefault(name, []).append(packet)

    def path(self, uuid: int) -> str:
        """The names of a track and of those that it is in, without the first."""
        track = self.tracks[uuid]
        above = self.tracks.get(track.parent_uuid)
        names = [self.path(above.uuid)] if above is not None and above.parent_uuid else []
        return "/".join([*names, track.name])


@pytest.fixture(scope="module")
def trace(source: Path) -> Trace:
    pytest.importorskip("perfetto")
    done = tool("timeline", source, "-o", source.parent / "trace")
    assert done.returncode == 0, done.stderr
    return Trace(source.parent / "trace")


def annotations(packet: Any) -> dict[str, int]:
    return {
        item.name: item.uint_value or item.pointer_value
        for item in packet.track_event.debug_annotations
    }


def test_the_trace_has_every_event_on_its_track(trace: Trace) -> None:
    assert {name: len(found) for name, found in trace.events.items() if "idle" not in name} == {
        "exits/RDTSC": 2 * ROUNDS + 1,
        "exits/IN": ROUNDS,
        "interrupts/vector 0x40": ROUNDS // 2,
        "interrupts/vector 0x41": ROUNDS // 2,
        "DMA/e1000 rx payload": ROUNDS,
        "DMA bytes": ROUNDS,
        "console/output": ROUNDS,
    }


def test_times_are_guest_time_and_events_are_named(trace: Trace) -> None:
    readings = [packet.timestamp for packet in trace.events["exits/RDTSC"]]
    start = readings[0]
    for number in range(ROUNDS):
        assert readings[2 * number] - start == pytest.approx(number * 10_000_000, abs=2)
        assert readings[2 * number + 1] - start == pytest.approx(number * 10_000_000 + 5e6, abs=2)
    events = make_events()
    for found in trace.events.values():
        for packet in found:
            said = annotations(packet)
            if said:
                event = events[said["event"]]
                assert (said["branches"], said["rip"]) == (event.branches, event.rip)


def test_console_lines_and_dma_are_told(trace: Trace) -> None:
    lines = trace.events["console/output"]
    assert [packet.track_event.name for packet in lines] == LINES
    assert [annotations(packet)["bytes"] for packet in lines] == [len(line) + 2 for line in LINES]
    totals = [packet.track_event.counter_value for packet in trace.events["DMA bytes"]]
    assert totals == [100 * count for count in range(1, ROUNDS + 1)]


def test_idle_is_what_the_guest_waited(trace: Trace) -> None:
    """All rounds but the first, in which HLT is not known yet."""
    idle = trace.events["idle/HLT"]
    begins, ends = idle[::2], idle[1::2]
    assert len(begins) == len(ends) == ROUNDS - 1
    assert {packet.track_event.type for packet in begins} == {1}
    assert {packet.track_event.type for packet in ends} == {2}
    lengths = [end.timestamp - begin.timestamp for begin, end in zip(begins, ends, strict=True)]
    assert all(4_000_000 < length < 5_000_000 for length in lengths), lengths


def test_only_some_events(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("perfetto")
    assert tool("timeline", source, "-o", tmp_path / "trace", "--events", "6-11").returncode == 0
    kinds = Counter({name: len(p) for name, p in Trace(tmp_path / "trace").events.items()})
    assert (kinds["exits/RDTSC"], kinds["exits/IN"], kinds["DMA bytes"]) == (2, 1, 1)


def test_the_picture_shows_the_lanes(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    done = tool("timeline", source, "--png", tmp_path / "t.png")
    assert done.returncode == 0, done.stderr
    pixels = imread(tmp_path / "t.png")
    height, width = pixels.shape[:2]
    assert (width, height) == (1540, 990)
    blue = (abs(pixels[:, :, :3] - (0x44 / 255, 0x77 / 255, 0xAA / 255)) < 0.01).all(axis=2)
    plots = blue[:, : int(width * 0.9)]
    rows = [int(plots[height * n // 5 : height * (n + 1) // 5].sum()) for n in range(5)]
    assert all(count > 500 for count in rows), rows


def test_without_the_packages_the_rest_works(source: Path, tmp_path: Path) -> None:
    for name in ("perfetto", "matplotlib"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not here')\n")
    path = str(tmp_path)
    for option, package in (("-o", "perfetto"), ("--png", "matplotlib")):
        done = tool("timeline", source, option, tmp_path / "out", PYTHONPATH=path)
        assert done.returncode == 1
        assert f"pip install {package}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert tool("verify", source, PYTHONPATH=path).returncode == 0


def test_a_timeline_needs_an_output(source: Path) -> None:
    done = tool("timeline", source)
    assert done.returncode == 2
    assert "-o FILE" in done.stderr


# ---- console


def test_console_lines_with_times(source: Path) -> None:
    done = tool("console", source, "--times")
    assert done.returncode == 0, done.stderr
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert [row[2] for row in rows[:-1]] == LINES
    assert rows[-1] == ["no", "end", "of line"]
    seconds = [float(row[0]) for row in rows[:-1]]
    assert seconds == sorted(seconds)
    assert seconds[-1] - seconds[0] == pytest.approx((ROUNDS - 1) / 100, abs=0.005)


def test_console_lines_as_json(source: Path) -> None:
    done = tool("console", source, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    events = make_events()
    assert [line["text"] for line in lines[:-1]] == LINES
    for line in lines[:-1]:
        event = events[line["event"]]
        assert isinstance(event.payload, layout.ConsoleLine)
        assert (line["branches"], line["rip"]) == (event.branches, hex(event.rip))
    assert lines[-1] == {**dict.fromkeys(lines[-1]), "text": "no end of line"}


def test_the_console_itself_is_not_changed(source: Path) -> None:
    assert tool("console", source).stdout.encode() == CONSOLE.replace(b"\r\n", b"\n")


def test_a_ring_that_has_lost_its_beginning(tmp_path: Path) -> None:
    """Lines have their own times, not those of the lost ones."""
    console = CONSOLE.replace(b"line", b"l" * 200)
    events = make_events()
    ends = [at + 1 for at, byte in enumerate(console) if byte == ord("\n")]
    for index, event in enumerate(events):
        if isinstance(event.payload, layout.ConsoleLine):
            events[index] = replace(event, payload=layout.ConsoleLine(ends.pop(0)))
    image = tmp_path / "image"
    image.write_bytes(build_region(log_of(events), 1 << 20, console, 4096))
    said = [json.loads(line) for line in tool("console", image, "--json").stdout.splitlines()]
    assert len(said) < ROUNDS
    for line in said[:-1]:
        number = int(line["text"].rsplit(" ", 1)[1])
        assert line["event"] == next(
            i for i, e in enumerate(events) if i >= 6 * number and e.name == "CONSOLE_LINE"
        )


# ---- parts


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e6)), min_size=1))
def test_histograms_keep_all_and_put_it_where_it_was(marks: list[tuple[float, float]]) -> None:
    histogram = Histogram()
    for seconds, amount in marks:
        histogram.add("a", seconds, amount)
    bins = histogram.bins("a")
    assert len(bins) == BINS
    assert sum(bins) == pytest.approx(sum(amount for _, amount in marks))
    for index, total in enumerate(bins):
        low, high = index * histogram.width, (index + 1) * histogram.width
        here = sum(amount for seconds, amount in marks if low <= seconds < high)
        assert total == pytest.approx(here)


@given(st.floats(0, 1000), st.floats(0, 1000), st.floats(0, 1e6))
def test_histograms_spread_evenly(start: float, length: float, amount: float) -> None:
    histogram = Histogram()
    histogram.spread("a", start, start + length, amount)
    bins = histogram.bins("a")
    assert sum(bins) == pytest.approx(amount, rel=1e-6, abs=1e-9)
    if length > 4 * histogram.width:
        inner = [total for total in bins if total][1:-1]
        assert max(inner, default=0) == pytest.approx(min(inner, default=0), rel=1e-6)


def test_long_code_is_not_idle() -> None:
    """Waits at many near addresses are none, waits at one address are."""
    sites = IdleSites()
    code = [sites.is_idle(0x1000 + 16 * (number % 20), 1.0) for number in range(200)]
    assert not any(code[20:])
    halt = [sites.is_idle(0x9000, 1.0) for _ in range(10)]
    assert halt == [False] + 9 * [True]


def test_a_place_where_most_do_not_wait_is_not_idle() -> None:
    sites = IdleSites()
    sites.is_idle(0x9000, 1.0)
    for _ in range(10):
        sites.woken(0x9000)
    assert not sites.is_idle(0x9000, 1.0)
