"""Framing of gdb's remote serial protocol."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.host import gdb_client

from lvmm.gdb.packet import Deframer, Mark, Packet, compress, escape, frame, unescape


def items(data: bytes, *, limit: int = 1000, cuts: list[int] | None = None) -> list[Packet | Mark]:
    """What comes out when the data arrives in pieces."""
    deframer = Deframer(limit)
    edges = sorted({0, len(data), *(cut for cut in cuts or [] if cut < len(data))})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    return [item for piece in pieces for item in deframer.feed(piece)]


def test_checksum_is_that_of_the_manual() -> None:
    assert frame(b"OK") == b"$OK#9a"
    assert frame(b"") == b"$#00"


@given(st.binary(max_size=300))
def test_escape_round_trip(data: bytes) -> None:
    escaped = escape(data)
    assert not set(escaped) & set(b"$#*")
    assert unescape(escaped) == data == gdb_client.unescaped(escaped)


@pytest.mark.parametrize("data", [b"}", b"abc}", b"}}}"])
def test_data_that_ends_in_an_escape(data: bytes) -> None:
    with pytest.raises(ValueError, match="ends in an escape"):
        unescape(data)


@given(
    st.lists(st.tuples(st.sampled_from(b"0123456789abcdefxOKET;:"), st.integers(1, 250))).map(
        lambda runs: b"".join(bytes([byte]) * count for byte, count in runs)
    )
)
def test_compression_round_trip(text: bytes) -> None:
    packed = compress(text)
    assert gdb_client.expanded(packed) == text
    assert len(packed) <= len(text)
    for at, byte in enumerate(packed):
        if byte == ord("*"):
            assert packed[at + 1] not in b"#$+-"


def test_zeros_shrink() -> None:
    assert len(compress(b"0" * 4096)) < 4096 // 25


@given(
    st.lists(st.binary(max_size=60).map(escape), min_size=1),
    st.lists(st.integers(0, 400)),
    st.binary(max_size=20).filter(lambda noise: not set(noise) & set(b"$\x03+-")),
)
def test_packets_arrive_in_any_pieces(packets: list[bytes], cuts: list[int], noise: bytes) -> None:
    data = b"".join(noise + frame(packet) + b"+\x03" for packet in packets)
    expected = [item for p in packets for item in (Packet(p), Mark.ACK, Mark.INTERRUPT)]
    assert items(data, cuts=cuts) == expected


@given(st.binary(max_size=200), st.binary(max_size=50).map(escape))
def test_the_next_packet_is_found_after_garbage(garbage: bytes, packet: bytes) -> None:
    # The first may be swallowed by what the garbage started; a client repeats it then.
    deframer = Deframer(1000)
    got = [*deframer.feed(garbage), *deframer.feed(frame(packet) * 2)]
    assert got[-1] == Packet(packet)


@given(st.binary(min_size=1, max_size=50).map(escape), st.data())
def test_a_changed_byte_is_noticed(packet: bytes, data: st.DataObject) -> None:
    whole = bytearray(frame(packet))
    at = data.draw(st.integers(1, len(packet)))
    whole[at] ^= data.draw(st.sampled_from([1, 2, 4, 8, 16, 64, 128]))
    assert Packet(packet) not in items(bytes(whole))


def test_checksum_in_capitals_and_no_checksum() -> None:
    assert items(b"$z#7A$z#7a$z#xy$z#7a") == [Packet(b"z")] * 2 + [Mark.BROKEN, Packet(b"z")]


def test_a_packet_that_lost_its_end_does_not_cost_the_next() -> None:
    assert items(b"$m10,4#" + frame(b"m20,4")) == [Mark.BROKEN, Packet(b"m20,4")]
    assert items(b"$m10," + frame(b"m20,4")) == [Mark.BROKEN, Packet(b"m20,4")]


def test_packets_that_are_too_big() -> None:
    assert items(frame(b"x" * 1000)) == [Packet(b"x" * 1000)]
    huge = frame(b"x" * 5000) + frame(b"?")
    assert items(huge) == [Mark.BROKEN, Packet(b"?")]
    assert items(huge, cuts=list(range(0, 6000, 7))) == [Mark.BROKEN, Packet(b"?")]
