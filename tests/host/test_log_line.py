"""The log of a machine at the other end of a line that breaks, and goes on."""

from __future__ import annotations

import os
import pty
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.host.log_cases import comparable, numbered, python_writer
from tests.host.test_log_extract import CONSOLE, some_events

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.link import LinkClosed
from lvmm.logs import NoLog, Recording
from lvmm.logs.layout import RegionHeader
from lvmm.logs.line import Fetch, fetch_line, is_line
from lvmm.logs.writer import build_region

pytestmark = pytest.mark.host

COUNT = 4000


@dataclass
class Line:
    """A region behind a line that breaks at each request of a number in `breaks`."""

    region: bytes
    runs: bool = False
    breaks: frozenset[int] = frozenset()
    asked: list[tuple[int, int]] = field(default_factory=list)

    def stands_still(self) -> bool:
        return not self.runs

    def read_log(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        if len(self.asked) in self.breaks:
            raise LinkClosed("somebody pulled the cable")
        return self.region[offset : offset + length]


def fetch(line: Line, folder: Path, patience_s: float = 60.0) -> tuple[Path, list[str]]:
    said: list[str] = []
    job = Fetch(line, "the line", said.append)
    job.retry_s = 0.0
    job.patience_s = patience_s
    return job.run(folder), said


def region_of(count: int) -> bytes:
    return build_region(python_writer(some_events(count)), 1 << 20, CONSOLE)


@pytest.fixture(scope="module")
def region() -> bytes:
    return region_of(COUNT)


def test_the_copy_is_the_recording(region: bytes, tmp_path: Path) -> None:
    line = Line(region)
    copy, _ = fetch(line, tmp_path)
    with Recording.open(copy) as recording:
        events = [comparable(event) for event in recording.events()]
        assert events == [comparable(event) for event in numbered(some_events(COUNT))]
        assert recording.console == CONSOLE
        assert not recording.losses
    header = RegionHeader.unpack(region)
    used = 4096 + len(CONSOLE) + header.chunk_bytes + (header.open_chunk & 0xFFFFFFFF)
    assert sum(length for _, length in line.asked) <= used + 56, "no more than is used is read"


def test_a_line_that_breaks_now_and_then(region: bytes, tmp_path: Path) -> None:
    whole, _ = fetch(Line(region), tmp_path / "whole")
    broken = Line(region, breaks=frozenset({1, 3, 4, 7, 8, 9}))
    copy, said = fetch(broken, tmp_path / "broken")
    assert copy.read_bytes() == whole.read_bytes()
    assert sum("pulled the cable; trying again" in line for line in said) == 6


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_it_goes_on_where_it_was_broken_off(region: bytes, tmp_path: Path, after: int) -> None:
    whole, _ = fetch(Line(region), tmp_path / "whole")
    dead = Line(region, breaks=frozenset(range(after + 1, 100)))
    with pytest.raises(EnvironmentProblem, match="what has come so far is kept"):
        fetch(dead, tmp_path / "copy", patience_s=0.0)
    again = Line(region)
    copy, said = fetch(again, tmp_path / "copy")
    assert copy.read_bytes() == whole.read_bytes()
    assert {offset for offset, _ in again.asked[1:]}.isdisjoint(o for o, _ in dead.asked[1:after])
    assert any("are here from before" in line for line in said) == (after > 1)


def test_another_log_is_not_mixed_with_it(region: bytes, tmp_path: Path) -> None:
    fetch(Line(region), tmp_path)
    other = region_of(COUNT // 2)
    copy, _ = fetch(Line(other), tmp_path)
    with Recording.open(copy) as recording:
        assert recording.event_count == len(some_events(COUNT // 2))


def test_what_cannot_be_fetched(region: bytes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the guest is running"):
        fetch(Line(region, runs=True), tmp_path)
    for nothing in (b"", bytes(4096)):
        with pytest.raises(NoLog, match="has no log"):
            fetch(Line(nothing), tmp_path)
    with pytest.raises(NoLog, match="ends before its header says"):
        fetch(Line(region[: RegionHeader.unpack(region).chunks_offset + 1000]), tmp_path)


def test_which_sources_are_lines(tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    try:
        assert is_line(os.ttyname(terminal))
    finally:
        os.close(controller)
        os.close(terminal)
    assert is_line("socket://localhost:4444")
    assert is_line("rfc2217://server:2217")
    for source in ("-", "/dev/null", "/dev/mem", str(tmp_path), "log.lvmm"):
        assert not is_line(source)


def test_nobody_at_the_line() -> None:
    with pytest.raises(EnvironmentProblem, match="cannot connect"):
        fetch_line("socket://127.0.0.1:1", print)
