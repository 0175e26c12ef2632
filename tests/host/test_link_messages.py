"""What the monitor says unasked, when some of it is lost."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.link_machine import TIMING, Fault, Lines, LinkMachine, faults

from lvmm.link import LinkClient, LinkTimeout, Status

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def running() -> Iterator[LinkMachine]:
    with LinkMachine() as machine:
        yield machine


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text("abcü{}\"' \t", max_size=8), max_size=12),
    st.lists(st.integers(0, 200), max_size=10),
    faults("truncate", "late"),
)
def test_lines_are_heard_whole_or_not_at_all(
    running: LinkMachine, spoken: list[str], cuts: list[int], what_happens: list[Fault]
) -> None:
    running.reset()
    # Numbered, so that no line is a part of another one.
    spoken = [f"{number}:{line}:" for number, line in enumerate(spoken)]
    text = "".join(line + "\n" for line in spoken).encode()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    messages = [text[start:end] for start, end in itertools.pairwise(places)]
    pending: list[Fault] = []
    happened: list[Fault] = []
    lines = Lines(running, iter(lambda: pending.pop(0) if pending else Fault("none"), None))
    heard: list[str] = []
    with LinkClient(lines, on_line=heard.append, timing=TIMING) as link:
        link.connect()
        for message in messages:
            pending[:] = what_happens[:1]
            happened += pending
            what_happens = what_happens[1:]
            lines.say(lambda message=message: running.message(message))  # type: ignore[misc]
        pending.clear()
        lines.say(lambda: running.message(b"end\n"))
        link.status()  # what was said before is heard by now
    remaining = iter(spoken)
    assert all(line in remaining for line in heard[:-1])
    assert heard[-1] == "end"
    if not any(fault.kind == "truncate" for fault in happened):
        assert heard[:-1] == spoken


def test_a_status_is_told_without_a_session_to_nobody(running: LinkMachine) -> None:
    running.reset()
    assert running.stop() == b""


def test_every_status_that_arrives_is_told(running: LinkMachine) -> None:
    running.reset()
    lines = Lines(running)
    told: list[Status] = []
    with LinkClient(lines, on_status=told.append, timing=TIMING) as link:
        link.connect()
        lines.say(running.stop)
        running.stop()
        lines.say(running.stop)
        link.status()
        assert link.statistics.lost == 1
    assert [status.stop_count for status in told] == [1, 3]


def test_an_old_stop_is_not_taken_for_a_new_one(running: LinkMachine) -> None:
    running.reset()
    lines = Lines(running)
    with LinkClient(lines, timing=TIMING) as link:
        link.connect()
        lines.say(running.stop)
        since = link.resume()
        assert since.stop_count == 1
        with pytest.raises(LinkTimeout):
            link.wait_for_stop(since, 0.05)
        lines.say(running.stop)
        assert link.wait_for_stop(since).stop_count == 2
