"""The appliance's peer against a guest played by the test."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lvmm import echo_peer, netpeer
from lvmm.echo_peer import EchoPeer

GUEST_MAC = bytes.fromhex("525400123456")
COUNT = 40


@pytest.fixture
def cable() -> Iterator[tuple[socket.socket, int]]:
    """The emulator's end of the cable, and its port."""
    port = netpeer.free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", port))
        line.settimeout(120)
        yield line, port


@contextmanager
def peer_at(port: int) -> Iterator[EchoPeer]:
    peer = EchoPeer(port, COUNT, seed=3)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()


def answer(frame: bytes) -> bytes:
    """What the appliance answers to an ARP, ICMP echo or UDP echo request."""
    if frame[12:14] == b"\x08\x06":
        sender, target = frame[22:32], frame[38:42]
        return frame[6:12] + GUEST_MAC + frame[12:20] + b"\0\2" + GUEST_MAC + target + sender
    head = frame[6:12] + GUEST_MAC + frame[12:26] + frame[30:34] + frame[26:30]
    if frame[23] == 17:
        return head + frame[36:38] + frame[34:36] + frame[38:]
    length = int.from_bytes(frame[16:18], "big") - 20
    bare = bytes(4) + frame[38 : 34 + length]
    return head + bare[:2] + netpeer.internet_checksum(bare).to_bytes(2, "big") + bare[4:]


def serve(line: socket.socket, port: int, change: Callable[[int, bytes], list[bytes]]) -> None:
    """Answers until the peer asks to end; `change` makes of each echo the frames to send."""
    number = 0
    while True:
        frame = line.recv(4096)
        datagram = netpeer.parse_udp(frame)
        if datagram is not None and datagram[1:] == (echo_peer.DISCARD_PORT, b"quit"):
            return
        is_echo = frame[12:14] == b"\x08\x00"
        number += is_echo
        for reply in change(number, answer(frame)) if is_echo else [answer(frame)]:
            line.sendto(reply, ("127.0.0.1", port + 1))


def test_right_echoes(cable: tuple[socket.socket, int]) -> None:
    line, port = cable
    with peer_at(port) as peer:
        serve(line, port, lambda _number, reply: [reply])
    assert peer.result.complete
    assert peer.result.answered == peer.result.sent == COUNT
    assert peer.result.digest != 0


@pytest.mark.parametrize("damaged", [7, 8], ids=["udp", "icmp"])
@pytest.mark.parametrize("extra", ["changed", "again"])
def test_what_is_no_echo_is_an_error(
    cable: tuple[socket.socket, int], damaged: int, extra: str
) -> None:
    line, port = cable

    def change(number: int, reply: bytes) -> list[bytes]:
        if number != damaged:
            return [reply]
        changed = reply[:46] + bytes([reply[46] ^ 1]) + reply[47:]  # in the payload
        return [changed, reply] if extra == "changed" else [reply, reply]

    with peer_at(port) as peer:
        serve(line, port, change)
    assert peer.result.answered == COUNT
    assert len(peer.result.errors) == 1
    assert not peer.result.complete
