"""Frames of the debug link: both ends against each other and against damaged streams."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.link_machine import Fault, LinkMachine, faults

from lvmm.link.frame import Frame, FrameReceiver, decode
from lvmm.link.layout import PAYLOAD_MAX, REPLY_FLAG, Channel
from lvmm.link.text import TextLines

pytestmark = pytest.mark.host

CHANNELS = st.sampled_from([*Channel, *(channel | REPLY_FLAG for channel in Channel)])
# Runs of one byte make COBS blocks of all lengths, which random bytes do not.
PAYLOADS = st.one_of(
    st.binary(max_size=600),
    st.lists(
        st.tuples(st.sampled_from([b"\0", b"\1", b"x", b"\xff"]), st.integers(0, 600)), max_size=6
    ).map(lambda runs: b"".join(byte * count for byte, count in runs)),
    st.integers(PAYLOAD_MAX - 300, PAYLOAD_MAX).map(lambda size: bytes(range(1, 256)) * 17)
    .map(lambda data: data[:PAYLOAD_MAX]),
)  # fmt: skip
FRAMES = st.builds(Frame, CHANNELS, st.integers(0, 255), PAYLOADS)
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=2, max_size=30).map(
        lambda text: text.encode() + b"\n"
    ),
    max_size=3,
).map(b"".join)


@pytest.fixture(scope="module")
def machine() -> Iterator[LinkMachine]:
    with LinkMachine() as running:
        yield running


def received(data: bytes, cuts: list[int]) -> tuple[list[Frame], bytes]:
    """What the tools' receiver makes of a stream that comes in parts."""
    receiver = FrameReceiver()
    frames: list[Frame] = []
    text = b""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        for part in receiver.feed(data[start:end]):
            if isinstance(part, Frame):
                frames.append(part)
            else:
                text += part
    return frames, text


@settings(max_examples=300, deadline=None)
@given(FRAMES)
def test_both_ends_encode_alike(machine: LinkMachine, frame: Frame) -> None:
    coded = frame.encode()
    assert machine.encode(frame) == coded
    assert coded[0] == coded[-1] == 0
    assert 0 not in coded[1:-1]
    assert decode(coded[1:-1]) == frame
    machine.reset()
    assert machine.receive(coded) == [frame]


def test_full_blocks_at_a_frames_end_are_coded_alike(machine: LinkMachine) -> None:
    for size in (*range(240, 262), *range(490, 520)):
        frame = Frame(Channel.CONTROL, 1, b"x" * size)
        assert machine.encode(frame) == frame.encode()


def test_a_block_that_is_cut_short_is_no_frame(machine: LinkMachine) -> None:
    coded = bytearray(Frame(Channel.CONTROL, 1, b"xyz").encode())
    assert coded[1] == len(coded) - 2, "one block"
    coded[1] += 1
    assert received(bytes(coded), [])[0] == machine.receive(bytes(coded)) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TEXTS, FRAMES), max_size=4), TEXTS, st.lists(st.integers(0), max_size=5))
def test_text_between_frames_is_kept(
    machine: LinkMachine, parts: list[tuple[bytes, Frame]], end: bytes, cuts: list[int]
) -> None:
    stream = b"".join(text + frame.encode() for text, frame in parts) + end
    frames, text = received(stream, cuts)
    assert frames == [frame for _, frame in parts]
    assert text == b"".join(text for text, _ in parts) + end
    machine.reset()
    assert machine.receive(stream) == frames


@settings(max_examples=300, deadline=None)
@given(
    st.lists(FRAMES, min_size=1, max_size=5),
    faults("flip", "drop", "duplicate", "insert", "truncate"),
    st.lists(st.integers(0), max_size=5),
)
def test_receivers_find_every_frame_that_is_whole(
    machine: LinkMachine, frames: list[Frame], what_happens: list[Fault], cuts: list[int]
) -> None:
    happens = iter(what_happens)
    stream = b""
    whole = []
    for frame in frames:
        fault = next(happens, Fault("none"))
        stream += fault.apply(frame.encode())
        if fault.kind == "none":
            whole.append(frame)
    last = Frame(Channel.CONTROL, 77, b"resynchronised")
    stream += last.encode() * 2
    ours, _ = received(stream, cuts)
    machine.reset()
    assert machine.receive(stream) == ours
    assert ours[-1] == last
    remaining = iter(ours)
    assert all(frame in remaining for frame in whole), "a whole frame was lost"
    assert all(frame in frames or frame == last for frame in ours), "a frame came from nowhere"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000) | st.integers(1, 255).map(lambda byte: bytes((byte,)) * 9000))
def test_garbage_is_no_frame(machine: LinkMachine, garbage: bytes) -> None:
    frame = Frame(Channel.LOG, 5, b"after garbage")
    stream = garbage + frame.encode()
    frames, _ = received(stream, [])
    machine.reset()
    assert frames == machine.receive(stream) == [frame]


def test_the_receiver_keeps_no_more_than_a_frame() -> None:
    receiver = FrameReceiver()
    for _ in range(100):
        assert list(receiver.feed(b"\0\xff" + bytes((Channel.LOG,)) + b"x" * 5000)) == []
        for _ in range(10):
            assert list(receiver.feed(b"x" * 5000)) == []
    assert len(receiver._pending) < 3 * PAYLOAD_MAX
    assert receiver.damaged == 99


def test_a_payload_that_is_too_long_is_refused() -> None:
    Frame(Channel.LOG, 0, bytes(PAYLOAD_MAX)).encode()
    with pytest.raises(ValueError, match="a frame holds"):
        Frame(Channel.LOG, 0, bytes(PAYLOAD_MAX + 1)).encode()


def test_lines_with_pieces_of_frames_are_dropped() -> None:
    lines = TextLines()
    assert list(lines.feed(b"one\r\n\x02bad\ntw")) == ["one"]
    assert list(lines.feed("o\tü\n".encode() + b"\xff\n")) == ["two\tü"]
    assert lines.dropped == 2
    assert list(lines.feed(b"x" * (2 << 20))) == []
    assert list(lines.feed(b"\nthree")) == [""]
    assert list(lines.rest()) == ["three"]
    assert list(lines.rest()) == []
