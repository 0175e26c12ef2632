"""The tool that takes a log while it is written, at a monitor that forgets what was taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.host.log_driver import HEADER

from lvmm.errors import EnvironmentProblem, LvmmError, RecordingError, UsageError
from lvmm.link import LinkClosed
from lvmm.link.layout import TakeLogReply
from lvmm.log_receiver import LogReceiver
from lvmm.logs.layout import RegionState
from lvmm.logs.writer import LogWriter, build_region

pytestmark = pytest.mark.host

OFFSET = 4096
LOG = bytes(range(256)) * 1200


@dataclass
class Monitor:
    """Has written so many bytes of LOG at each question, by `steps`; keeps what is not stored."""

    steps: list[int]
    start: int = 0
    end: int = 0
    state: RegionState = RegionState.RECORDING
    asked: int = 0
    told: int = 0  # bytes that the tool said to have stored when it asked last
    breaks_at: int = 0
    forgets: bool = True
    closes: list[bool] = field(default_factory=list)

    def take_log(self, stored: int, close: bool = False) -> TakeLogReply:
        self._ask()
        self.closes.append(close)
        self.told = stored
        assert stored <= self.end, "the tool has more than there is"
        if stored == self.end and self.forgets:
            self.start = stored
        if self.steps:
            self.end = min(self.end + self.steps.pop(0), len(LOG))
        else:
            self.state = RegionState.SEALED
        return TakeLogReply(self.start, OFFSET, self.end, self.state)

    def read_log(self, offset: int, length: int) -> bytes:
        self._ask()
        at = self.start + offset - OFFSET
        assert at >= self.start, "it has been forgotten"
        return LOG[at : min(at + length, self.end)]

    def _ask(self) -> None:
        self.asked += 1
        if self.asked == self.breaks_at:
            raise LinkClosed("somebody pulled the cable")


@given(st.lists(st.integers(0, 60000), max_size=12), st.booleans())
def test_all_of_it_is_stored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], forgets: bool
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.lvmm"
    monitor = Monitor(list(steps), forgets=forgets)
    receiver = LogReceiver(monitor, path)
    while not receiver.turn(close=True):
        pass
    receiver.close()
    stored = path.read_bytes() if path.exists() else b""
    assert stored == LOG[: min(sum(steps), len(LOG))]
    assert receiver.stored == len(stored) == monitor.told, "or it takes the log for an unsaved one"


def test_in_its_thread(tmp_path: Path) -> None:
    monitor = Monitor([100] * 5)
    receiver = LogReceiver(monitor, tmp_path / "log")
    receiver.start()
    receiver.start()
    receiver.finish()
    assert (tmp_path / "log").read_bytes() == LOG[:500]


def test_a_line_that_breaks_leaves_what_came(tmp_path: Path) -> None:
    monitor = Monitor([100, 100], breaks_at=4)
    receiver = LogReceiver(monitor, tmp_path / "log")
    with pytest.raises(LinkClosed):
        for _ in range(10):
            receiver.turn(close=False)
    receiver.close()
    assert (tmp_path / "log").read_bytes() == LOG[:100]


def test_its_thread_tells_of_a_failure(tmp_path: Path) -> None:
    receiver = LogReceiver(Monitor([100], breaks_at=1), tmp_path / "log")
    receiver.start()
    with pytest.raises(LvmmError, match="pulled the cable"):
        receiver.finish()


def test_a_file_from_before_is_gone_on_with(tmp_path: Path) -> None:
    log = LogWriter(0x1234, HEADER)
    log.flush()
    region = build_region(log, 1 << 20)

    class Restarted(Monitor):
        def read_log(self, offset: int, length: int) -> bytes:
            return region[:length] if offset == 0 else super().read_log(offset, length)

    whole = bytes(log.data) + LOG[len(log.data) :]
    path = tmp_path / "log"
    path.write_bytes(whole[:1000])
    receiver = LogReceiver(Restarted([0], start=1000, end=3000), path)
    receiver.resume()
    while not receiver.turn(close=False):
        pass
    receiver.close()
    assert path.read_bytes() == whole[:3000]

    for other in (LOG[:1000], b""):
        path.write_bytes(other)
        with pytest.raises(UsageError, match="not of this recording"):
            LogReceiver(Restarted([0]), path).resume()


def test_what_another_tool_has_taken(tmp_path: Path) -> None:
    receiver = LogReceiver(Monitor([10], start=500, end=500), tmp_path / "log")
    with pytest.raises(RecordingError, match="500 bytes of the log were taken by another tool"):
        receiver.turn(close=False)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    receiver = LogReceiver(Monitor([10]), tmp_path / "nowhere" / "log")
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        receiver.turn(close=False)
