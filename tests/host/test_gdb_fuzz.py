"""Whatever a client sends, the server answers the next one, and the guest is as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.host.gdb_client import Client, framed
from tests.host.gdb_fake_target import CODE, RAM, FakeTarget, serving

from lvmm.gdb.commands import handle
from lvmm.gdb.machine import Machine
from lvmm.gdb.packet import PACKET_SIZE, Deframer, Packet, escape
from lvmm.gdb.registers import X86_64
from lvmm.gdb.session import Session

NAMES = (
    b"? g G p P m M x X Z z c s C S H T D k R ! vCont vCont? vKill vMustReplyEmpty qSupported"
    b" QStartNoAckMode qAttached qC qfThreadInfo qsThreadInfo qThreadExtraInfo qSymbol qHostInfo"
    b" qProcessInfo qXfer qRcmd bc bs vFile q Q v qXfer:features:read:target.xml:"
    b" qXfer:memory-map:read:: qRcmd,"
).split(b" ")
WORDS = st.sampled_from([b"%x" % CODE, b"%x" % RAM, b"0", b"1", b"-1", b"ffffffffffffffff", b"10"])
ARGUMENTS = st.lists(
    st.one_of(
        WORDS, st.sampled_from(b":;,=.+-{}*").map(lambda b: bytes([b])), st.binary(max_size=5)
    ),
    max_size=8,
).map(b"".join)
PACKETS = st.one_of(
    st.tuples(st.sampled_from(NAMES), ARGUMENTS).map(b"".join),
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: b"qRcmd," + text.encode().hex().encode()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PACKETS, max_size=20))
def test_every_packet_has_a_reply_or_lets_the_guest_run(packets: list[bytes]) -> None:
    target = FakeTarget()
    shown: list[bytes] = []
    session = Session(Machine(target, X86_64), shown.append)
    for packet in packets:
        reply = handle(session, packet)
        if reply is None:
            assert packet[:1] in b"csCSk" or packet.startswith(b"vCont;")
            while session.machine.running:
                session.machine.interrupt()
                session.machine.wait(0)
        else:
            assert len(reply) <= PACKET_SIZE
            assert list(Deframer().feed(b"$" + reply + b"#%02x" % (sum(reply) % 256))) == [
                Packet(reply)
            ]
    assert all(len(text) <= PACKET_SIZE for text in shown)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(FakeTarget()) as (server, _):
        yield server.port


STREAM = st.lists(
    st.one_of(
        st.binary(max_size=30),
        PACKETS.map(escape).map(framed),
        PACKETS.map(escape).map(lambda packet: framed(packet)[:-3]),
        PACKETS.map(escape).map(lambda packet: b"$" + packet + b"#00"),
        st.just(b"\x03"),
        st.just(b"-"),
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(stream=STREAM)
def test_a_new_client_is_served_after_any_stream(port: int, stream: bytes) -> None:
    with Client(port) as client:
        client.raw(stream)
    while True:
        with Client(port) as client:
            try:
                if client.ask(b"qC") == b"QC1":
                    break
            except EOFError:
                pass  # the one before is not gone yet


@settings(max_examples=50, deadline=None)
@given(noise=st.binary(max_size=100))
def test_the_same_client_is_served_after_noise(port: int, noise: bytes) -> None:
    with Client(port) as client:
        while client.ask(b"qAttached") != b"1":
            raise AssertionError
        client.raw(noise)
        # A `$` in the noise may swallow one packet; the second comes through.
        client.raw(framed(b"qC") * 2)
        data = b""
        while b"QC1#c5" not in data:
            data += client.byte()
        client.raw(framed(b"D"))
        with pytest.raises(EOFError):
            while True:
                client.byte()


def test_a_huge_packet(port: int) -> None:
    with Client(port) as client:
        client.raw(framed(b"x" * 10_000_000))
        data = b""
        while not data.endswith(b"-"):
            data += client.byte()
        assert client.ask(b"qC") == b"QC1"
        client.ask(b"D")
