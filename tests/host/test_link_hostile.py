"""Bytes that mean harm, for the monitor's end of the debug link under sanitizers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.link_machine import MEMORY_BASE, MEMORY_SIZE, TIMING, Lines, LinkMachine

from lvmm.link import LinkClient
from lvmm.link.frame import Frame

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def running() -> Iterator[LinkMachine]:
    with LinkMachine() as machine:
        yield machine


def hostile_frames() -> st.SearchStrategy[bytes]:
    """Well-formed frames with any content, and bytes that are no frames."""
    payload = st.builds(
        lambda opcode, rest: bytes((opcode,)) + rest, st.integers(0, 30), st.binary(max_size=120)
    )
    frame = st.builds(
        Frame,
        st.integers(0, 255) | st.integers(1, 4),
        st.integers(0, 12),
        payload | st.binary(max_size=4160),
    )
    return frame.map(Frame.encode) | st.binary(max_size=200)


@settings(max_examples=200, deadline=None)
@given(st.lists(hostile_frames(), max_size=12), st.booleans())
def test_hostile_bytes_do_not_hurt_the_monitor(
    running: LinkMachine, parts: list[bytes], in_session: bool
) -> None:
    running.reset()
    with LinkClient(Lines(running), timing=TIMING) as link:
        if in_session:
            link.connect()
        for part in parts:
            running.line(part)
        link.close()
        assert len(link.read_memory(MEMORY_BASE, MEMORY_SIZE)) == MEMORY_SIZE
