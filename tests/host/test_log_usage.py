"""What extract_log.py says to wrong arguments: how it is done right, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.host import extract_tool
from tests.host.extract_tool import (
    COMPLETE,
    ENVIRONMENT,
    NO_LOG,
    USAGE,
    Tool,
    log_of,
    one_line,
    region_of,
    write,
)
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.errors import RecordingError
from lvmm.logs import Recording, layout
from lvmm.logs.codec import Event
from lvmm.logs.writer import LogWriter
from lvmm.recorded_part import recorded_part

pytestmark = pytest.mark.host

tool = extract_tool.tool


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "log.lvmm", bytes(log_of().data))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dump", "--events", "x"], "--events x: give A-B, A- or A"),
        (["dump", "--events", "5-1"], "--events 5-1: the last event is before the first"),
        (["timeline", "--events", "5-1", "-o", "t"], "the last event is before the first"),
        (["dump", "--last", "-1"], "-1: give a number that is not negative"),
        (["dump", "--from", "abc"], "abc: give a number that is not negative"),
        (["dump", "--from", "10", "--to", "5"], "--from 10 --to 5: the end is before the start"),
        (["dump", "--type", "IN,FOO"], "--type FOO: no such kind of event; there are IN, "),
        (["dump", "--device", "nonsense"], "--device nonsense: no such device; give port:"),
        (["stats", "--top", "many"], "many: give a number that is not negative"),
        (["stats", "--symbols", "/etc/passwd"], "--symbols /etc/passwd: no symbols"),
        (["info", "--recording", "zz"], "zz: no hexadecimal ID"),
        (["timeline"], "timeline: say what to write: -o FILE"),
        (["extract"], "the following arguments are required: -o/--output"),
        (["core", "-o", "core"], "a replay makes the core: ./lvmm replay DIR --core FILE"),
    ],
)
def test_wrong_arguments(
    words: list[str], said: str, tool: Tool, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log.parent)
    code, out, err = tool(words[0], log, *words[1:])
    assert code == USAGE
    assert out == ""
    assert said in err.splitlines()[-1]
    assert list(log.parent.iterdir()) == [log]


@pytest.mark.parametrize(
    "words",
    [
        ["extract", "-o"],
        ["pack", "-o"],
        ["pcap", "-o"],
        ["timeline", "-o"],
        ["timeline", "--png"],
    ],
    ids=" ".join,
)
def test_an_output_that_cannot_be(words: list[str], tool: Tool, log: Path) -> None:
    target = log.parent / "none" / "x.lvmm"
    assert one_line(tool(words[0], log, words[1], target)) == ENVIRONMENT
    assert list(log.parent.iterdir()) == [log]


@pytest.mark.parametrize(
    "words",
    [["pcap", "-o"], ["timeline", "-o"], ["timeline", "--png"], ["pack", "-o"]],
    ids=" ".join,
)
def test_no_recording_is_replaced(words: list[str], tool: Tool, log: Path) -> None:
    """That is read, or another one: a log, a region, a pack."""
    others = [write(log.parent / "other.lvmm", bytes(log_of(0xABC).data))]
    others += [write(log.parent / "ram", region_of()), log.parent / "first.pack"]
    assert tool("pack", log, "-o", others[-1])[0] == COMPLETE
    for target in (log, *others):
        before = target.read_bytes()
        assert one_line(tool(words[0], log, words[1], target)) == USAGE
        assert target.read_bytes() == before


def test_a_core_replaces_no_recording(tool: Tool, log: Path) -> None:
    region = write(log.parent / "ram", bytes(4096) + region_of())
    for words in (["-o", region], ["-o", log], ["-o", log.parent / "core", "--symbols", log]):
        outcome = tool("core", region, *words)
        assert one_line(outcome) == USAGE
        assert "it is what is read" in outcome[2] or "holds a recording" in outcome[2]
    assert sorted(log.parent.iterdir()) == sorted([log, region])


def test_an_id_that_is_not_there(tool: Tool, log: Path) -> None:
    assert one_line(tool("info", log, "--recording", "abc")) == NO_LOG


def test_a_beginning_without_its_state(tool: Tool, tmp_path: Path) -> None:
    """Its CRC is right, but it is shorter than the structure that should be in it."""
    writer = LogWriter(RECORDING_ID, HEADER)
    writer.write(Event(layout.Begin(bytes(200)), 5, 0x1000, True, check=0))
    writer.write(Event(layout.ConsoleLine(40), 10, 0x1000, check=0))
    writer.write(Event(layout.Rdtsc(500), 20, 0x1000, check=0))
    writer.flush()
    log = write(tmp_path / "log.lvmm", bytes(writer.data))
    for command in ("info", "verify", "dump", "stats"):
        assert tool(command, log)[0] == COMPLETE
    code, _, err = tool("timeline", log, "-o", tmp_path / "trace")
    assert code == COMPLETE, err
    with Recording.open(log) as recording, pytest.raises(RecordingError, match="is cut short"):
        recorded_part(recording)
