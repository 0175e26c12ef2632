"""What gdb's `monitor events COUNT` shows."""

from pathlib import Path

import pytest
from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.debug.event_log import last_events
from lvmm.errors import LvmmError
from lvmm.gdb.target import TargetError
from lvmm.logs import Event, Recording
from lvmm.logs.event_text import event_line
from lvmm.logs.layout import Rdtsc
from lvmm.logs.writer import LogWriter

EVENTS = 30


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Chunks of seven events."""
    writer = LogWriter(RECORDING_ID, HEADER)
    for index in range(EVENTS):
        writer.write(Event(Rdtsc(1000 + index * index), 10 * index, 0x1000 + index, check=0))
        if index % 7 == 6:
            writer.flush()
    writer.flush()
    path = tmp_path / "log.lvmm"
    path.write_bytes(writer.data)
    return path


def test_the_last_ones_so_far(log: Path) -> None:
    with Recording.open(log) as recording:
        lines = [event_line(event) for event in recording.events()]
    assert len(lines) == EVENTS
    for done in range(1, EVENTS + 1):
        for count in (1, 3, 10, EVENTS, 1 << 64):
            shown = last_events(log, done, count).splitlines()
            assert shown == lines[max(done - count, 0) : done]


def test_none_yet(log: Path) -> None:
    with pytest.raises(TargetError, match="no event yet"):
        last_events(log, 0, 5)


def test_no_log(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.write_bytes(bytes(8192))
    with pytest.raises(LvmmError):
        last_events(nothing, 1, 1)
