"""Bytes that mean harm, for the monitor's end of the debug link under sanitizers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.link_machine import MEMORY_BASE, MEMORY_SIZE, TIMING, Lines, LinkMachine

from lvmm.link import LinkClient
from lvmm.link.frame import Frame, FrameReceiver
from lvmm.link.layout import (
    LAYOUT_DIGEST,
    MAGIC,
    PAYLOAD_MAX,
    PROTOCOL_VERSION,
    REPLY_FLAG,
    SHAPES,
    Channel,
    HelloRequest,
    Opcode,
    Result,
)

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def running() -> Iterator[LinkMachine]:
    with LinkMachine() as machine:
        yield machine


# Requests of the right length with any content, and payloads with any length.
CONTENTS = st.one_of(
    st.sampled_from([*SHAPES]).flatmap(
        lambda opcode: st.binary(
            min_size=SHAPES[opcode].request_size, max_size=SHAPES[opcode].request_size
        ).map(lambda fields: bytes((opcode,)) + fields)
    ),
    st.builds(lambda opcode, rest: bytes((opcode,)) + rest, st.integers(0, 30), st.binary()),
    st.binary(max_size=PAYLOAD_MAX),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(Frame, st.integers(0, 255), st.integers(0, 12), CONTENTS).map(Frame.encode),
            st.binary(max_size=200),
        ),
        max_size=12,
    )
)
def test_hostile_bytes_do_not_hurt_the_monitor(running: LinkMachine, parts: list[bytes]) -> None:
    running.reset()
    with LinkClient(Lines(running), timing=TIMING) as link:
        for part in parts:
            running.line(part)
        assert len(link.read_memory(MEMORY_BASE, MEMORY_SIZE)) == MEMORY_SIZE


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), CONTENTS, st.binary(max_size=4200)), max_size=12))
def test_every_request_in_a_session_gets_one_reply(
    running: LinkMachine, requests: list[tuple[int, bytes, bytes]]
) -> None:
    running.reset()
    hello = bytes((Opcode.HELLO,)) + HelloRequest(MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, 5).pack()
    running.line(Frame(Channel.CONTROL, 0, hello).encode())
    sequence = 0
    for channel, content, data in requests:
        payload = (content + data)[:PAYLOAD_MAX]
        if payload[:1] == hello[:1]:
            continue  # it is answered as often as it comes
        if payload and payload[0] in SHAPES and len(data) % 4:  # else the wrong one, mostly
            channel = SHAPES[Opcode(payload[0])].channel
        sequence += 1
        answer = running.line(Frame(channel, sequence, payload).encode())
        (reply,) = FrameReceiver().feed(answer)
        assert isinstance(reply, Frame)
        assert (reply.channel, reply.sequence) == (channel | REPLY_FLAG, sequence)
        assert reply.payload[0] in set(Result) - {Result.NO_SESSION}
        before = running.counts()
        assert running.line(Frame(channel, sequence, payload).encode()) == answer
        assert running.counts() == before
