"""The host's network peer: frames, and the pacing protocol against a guest played by the test."""

import hashlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from lvmm import netpeer
from lvmm.netpeer import NetPeer, Traffic, arp_reply, internet_checksum, parse_udp, udp_frame

GUEST_MAC = bytes.fromhex("525400123456")
GUEST = (GUEST_MAC, netpeer.GUEST_ADDRESS, netpeer.GUEST_PORT)
PEER = (netpeer.PEER_MAC, netpeer.PEER_ADDRESS, netpeer.PEER_PORT)


@pytest.mark.parametrize("size", [0, 1, 17, 18, 63, 64, 1471, 1472])
def test_udp_frame_round_trip_and_checksums(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    frame = udp_frame(PEER, GUEST, payload, identification=size)
    assert len(frame) >= 60
    assert frame[:12] == GUEST_MAC + netpeer.PEER_MAC
    assert parse_udp(frame) == (netpeer.PEER_PORT, netpeer.GUEST_PORT, payload)
    # A sum over data that includes its own checksum is zero (RFC 1071).
    assert internet_checksum(frame[14:34]) == 0
    length = struct.unpack_from("!H", frame, 38)[0]
    pseudo = frame[26:34] + struct.pack("!BBH", 0, 17, length)
    assert internet_checksum(pseudo + frame[34 : 34 + length]) == 0


def test_checksum_of_rfc_1071_example() -> None:
    assert internet_checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


def test_frames_that_are_no_udp() -> None:
    frame = udp_frame(PEER, GUEST, b"hello")
    assert parse_udp(b"") is None
    assert parse_udp(frame[:20]) is None
    assert parse_udp(frame[:12] + b"\x08\x06" + frame[14:]) is None
    assert parse_udp(frame[:23] + b"\x06" + frame[24:]) is None
    assert parse_udp(frame[:38] + b"\xff\xff" + frame[40:]) is None
    for length in range(len(frame)):
        parse_udp(frame[:length])


def test_arp_is_answered_for_the_peer_only() -> None:
    def request(target: str) -> bytes:
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        body += GUEST_MAC + socket.inet_aton(netpeer.GUEST_ADDRESS)
        body += bytes(6) + socket.inet_aton(target)
        return b"\xff" * 6 + GUEST_MAC + b"\x08\x06" + body

    answer = arp_reply(request(netpeer.PEER_ADDRESS))
    assert answer is not None
    assert answer[:6] == GUEST_MAC
    assert answer[20:22] == b"\0\2"
    assert answer[22:28] == netpeer.PEER_MAC
    assert arp_reply(request("192.168.77.9")) is None
    assert arp_reply(request(netpeer.PEER_ADDRESS)[:30]) is None


def eventually(condition: Callable[[], object]) -> None:
    """The test's deadline ends it otherwise."""
    while not condition():
        time.sleep(0.005)


class FakeGuest:
    """Plays emulator and guest: receives on `port`, answers to port + 1."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", port))
        self.socket.settimeout(120)
        self.target = ("127.0.0.1", port + 1)
        self.hash = hashlib.sha256()
        self.received = 0

    def send(self, tag: bytes, value: int) -> None:
        frame = udp_frame(GUEST, PEER, struct.pack("!4sI", tag, value))
        self.socket.sendto(frame, self.target)

    def receive(self) -> None:
        parsed = parse_udp(self.socket.recv(4096))
        assert parsed is not None
        payload = parsed[2]
        assert struct.unpack_from("!I", payload)[0] == self.received
        self.hash.update(payload)
        self.received += 1


@pytest.fixture
def port() -> int:
    return netpeer.free_port()


@pytest.fixture
def guest(port: int) -> Iterator[FakeGuest]:
    fake = FakeGuest(port)
    yield fake
    fake.socket.close()


@pytest.mark.parametrize(
    "traffic", [Traffic(seed=1), Traffic(seed=2, size=1024, pauses=False)], ids=["mixed", "even"]
)
def test_all_datagrams_arrive_and_digests_agree(
    port: int, guest: FakeGuest, traffic: Traffic
) -> None:
    peer = NetPeer(port, traffic)
    peer.start()
    guest.send(b"RDY!", 200)
    while guest.received < 200:
        guest.receive()
        if guest.received % 8 == 0:
            guest.send(b"ACK!", guest.received)
    eventually(lambda: peer.result.complete)
    guest.socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        guest.socket.recv(1)
    result = peer.stop()
    assert result.complete
    assert result.digest == guest.hash.hexdigest()
    assert not result.errors


def test_window_limits_what_is_under_way(port: int, guest: FakeGuest) -> None:
    peer = NetPeer(port, Traffic(pauses=False))
    peer.start()
    guest.send(b"RDY!", 1000)
    for _ in range(netpeer.WINDOW):
        guest.receive()
    guest.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        guest.socket.recv(4096)
    guest.socket.settimeout(120)
    guest.send(b"ACK!", 1)
    guest.receive()
    assert peer.stop().sent == netpeer.WINDOW + 1


def test_a_flood_waits_for_nothing_and_ends_with_the_last_acknowledgement(
    port: int, guest: FakeGuest
) -> None:
    peer = NetPeer(port, Traffic(size=100, pauses=False, distinct=4, flood=True))
    peer.start()
    guest.send(b"RDY!", 3 * netpeer.WINDOW)
    for _ in range(3 * netpeer.WINDOW):
        guest.socket.recv(4096)
    guest.send(b"ACK!", 3 * netpeer.WINDOW)
    eventually(lambda: peer.result.complete)
    guest.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        while guest.socket.recv(4096):
            pass
    result = peer.stop()
    assert result.sent >= 3 * netpeer.WINDOW
    assert not result.errors


def test_one_transfer_after_the_other(port: int, guest: FakeGuest) -> None:
    """A repeated request is of the transfer under way; what is not UDP is for another end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(120)
        peer = NetPeer(port, Traffic(size=100, pauses=False), Traffic(size=300, pauses=False))
        peer.others = other.getsockname()
        peer.start()
        for count, size in ((3, 100), (5, 300)):
            guest.received = 0
            guest.send(b"RDY!", count)
            guest.send(b"RDY!", count)
            while guest.received < count:
                guest.receive()
            guest.send(b"ACK!", count)
            eventually(lambda count=count: peer.result.acknowledged == count)
            assert peer.result.payload_bytes == count * size
        guest.socket.sendto(b"no datagram", guest.target)
        assert other.recv(4096) == b"no datagram"
        result = peer.stop()
    assert result.complete
    assert not result.errors


def test_a_transfer_that_was_not_asked_for(port: int, guest: FakeGuest) -> None:
    peer = NetPeer(port, Traffic(), Traffic(size=64))
    peer.start()
    guest.send(b"RDY!", 1)
    guest.receive()
    guest.send(b"ACK!", 1)
    eventually(lambda: peer.result.complete)
    assert peer.stop().errors == ["1 transfers were not asked for"]


def test_a_question_follows_the_last_datagram_under_way(port: int, guest: FakeGuest) -> None:
    peer = NetPeer(port, Traffic(pauses=False, window=2, ask=True))
    peer.start()
    guest.send(b"RDY!", 3)
    for received in (2, 3):
        while guest.received < received:
            guest.receive()
        question = guest.socket.recv(4096)
        assert question[:14] == b"\xff" * 6 + netpeer.PEER_MAC + b"\x08\x06"
        assert question[14:22] == struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        assert question[38:42] == socket.inet_aton(netpeer.GUEST_ADDRESS)
        guest.send(b"ACK!", received)
    eventually(lambda: peer.result.complete)
    result = peer.stop()
    assert result.asked == 2
    assert result.digest == guest.hash.hexdigest()


def test_an_impossible_acknowledgement_is_an_error(port: int, guest: FakeGuest) -> None:
    peer = NetPeer(port, Traffic())
    peer.start()
    guest.send(b"RDY!", 1)
    guest.receive()
    guest.send(b"ACK!", 7)
    eventually(lambda: peer.result.errors)
    assert peer.stop().errors


def test_taken_port_is_refused(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port + 1))
        with pytest.raises(OSError):
            NetPeer(port, Traffic())
