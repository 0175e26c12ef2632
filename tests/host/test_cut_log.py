"""A log that ends before an event: its END is where the event was, with what a replay checks."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.log_cases import comparable, numbered, python_log, written_events
from tests.host.log_driver import Written

from lvmm.errors import UsageError
from lvmm.logs import Event, Recording
from lvmm.logs.layout import EventKind
from lvmm.vmcore.replay_core import PASSED_OVER, cut_log


def place(events: list[Event], index: int) -> Event:
    """The event whose position this one shares."""
    return next(e for e in reversed(events[: index + 1]) if not e.same_position)


def begun(written: list[Written]) -> bool:
    """Whether the first event says where it is, as the monitor's does."""
    return bool(written) and not written[0].event.same_position


@settings(max_examples=50)
@given(written_events().filter(begun), st.integers(0, 5), st.data())
def test_any_event(written: list[Written], flush_every: int, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        log, short = Path(scratch) / "log.lvmm", Path(scratch) / "cut.lvmm"
        log.write_bytes(python_log(written, flush_every))
        events = numbered(written)
        index = data.draw(st.integers(0, len(events) - 1))
        due = next((e for e in events[index:] if e.kind not in PASSED_OVER), None)
        try:
            found = cut_log(log, index, short)
        except UsageError as error:
            assert due is None, error
            return
        assert due is not None
        assert (found.index, found.payload) == (due.index, due.payload)
        with Recording.open(short) as recording:
            assert not recording.losses
            cut = list(recording.events())
    assert [comparable(event) for event in cut[:-1]] == events[: due.index]
    end, there = cut[-1], place(events, due.index)
    assert (end.kind, end.asynchronous, end.same_position) == (EventKind.END, True, False)
    assert (end.branches, end.rip) == (there.branches, there.rip)
    assert (end.check, end.registers) == (there.check, there.registers)
