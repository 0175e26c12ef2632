"""The peer of the demo's guest: sends it datagrams and checks what it acknowledges.

It builds and parses the frames itself (Ethernet II; ARP, RFC 826; IPv4, RFC 791; UDP, RFC 768).

The peer never has more than a window of datagrams under way that the guest has not acknowledged,
so neither the card's receive ring nor the host socket's buffer can overflow: what is lost is a bug.
A flood is the exception: it never waits, as a saturated line does not, and much of it is lost.
"""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import time
from dataclasses import dataclass, field

from lvmm.cable_end import CableEnd
from lvmm.errors import EnvironmentProblem

GUEST_ADDRESS = "192.168.77.2"
PEER_ADDRESS = "192.168.77.1"
PEER_MAC = bytes.fromhex("5254004c5601")
GUEST_PORT = 7001
PEER_PORT = 7000

WINDOW = 64
MIN_PAYLOAD = 64
MAX_PAYLOAD = 1472
# A flood leaves the other threads some time; the packet mover's socket holds a burst or two. An
# emulated gigabit line takes less than a third of this.
_FLOOD_BURST = 64
_FLOOD_PAUSE_S = 0.0005
MIN_FRAME = 60  # without the frame check sequence, which the card adds itself

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
IP_PROTOCOL_UDP = 17
BROADCAST = b"\xff" * 6

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_MESSAGE = struct.Struct("!4sI")


def free_port() -> int:
    """A UDP port that is free, and the next one too. Raises EnvironmentProblem."""
    for port in random.SystemRandom().sample(range(20000, 60000, 2), 100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        ):
            try:
                first.bind(("", port))
                second.bind(("", port + 1))
            except OSError:
                continue
            return port
    raise EnvironmentProblem("no free UDP ports for the network card")


def internet_checksum(data: bytes) -> int:
    """The ones' complement sum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_frame(
    source: tuple[bytes, str, int],
    destination: tuple[bytes, str, int],
    payload: bytes,
    identification: int = 0,
) -> bytes:
    """An Ethernet frame with one UDP datagram; the ends are (MAC, IPv4 address, UDP port)."""
    source_ip = socket.inet_aton(source[1])
    destination_ip = socket.inet_aton(destination[1])
    length = _UDP.size + len(payload)
    pseudo = struct.pack("!4s4sBBH", source_ip, destination_ip, 0, IP_PROTOCOL_UDP, length)
    bare = _UDP.pack(source[2], destination[2], length, 0) + payload
    checksum = internet_checksum(pseudo + bare) or 0xFFFF
    udp = _UDP.pack(source[2], destination[2], length, checksum) + payload
    total = _IPV4.size + length
    head = (0x45, 0, total, identification & 0xFFFF, 0x4000, 64, IP_PROTOCOL_UDP)
    ip = _IPV4.pack(*head, 0, source_ip, destination_ip)
    ip = _IPV4.pack(*head, internet_checksum(ip), source_ip, destination_ip)
    frame = _ETHERNET.pack(destination[0], source[0], ETHERTYPE_IPV4) + ip + udp
    return frame.ljust(MIN_FRAME, b"\0")


def parse_udp(frame: bytes) -> tuple[int, int, bytes] | None:
    """(source port, destination port, payload) of a frame, or None if it holds no whole UDP."""
    if len(frame) < _ETHERNET.size + _IPV4.size:
        return None
    if _ETHERNET.unpack_from(frame)[2] != ETHERTYPE_IPV4:
        return None
    packet = frame[_ETHERNET.size :]
    header_length = (packet[0] & 15) * 4
    if packet[0] >> 4 != 4 or packet[9] != IP_PROTOCOL_UDP or header_length < _IPV4.size:
        return None
    if len(packet) < header_length + _UDP.size:
        return None
    source, destination, length, _ = _UDP.unpack_from(packet, header_length)
    if length < _UDP.size or header_length + length > len(packet):
        return None
    return source, destination, packet[header_length + _UDP.size : header_length + length]


def arp_reply(frame: bytes) -> bytes | None:
    """The answer to an ARP request for the peer's address; None for any other frame."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    _, source, ethertype = _ETHERNET.unpack_from(frame)
    if ethertype != ETHERTYPE_ARP:
        return None
    fields = _ARP.unpack_from(frame, _ETHERNET.size)
    hardware, protocol, _, _, operation, sender_mac, sender_ip, _, target_ip = fields
    if (hardware, protocol, operation) != (1, ETHERTYPE_IPV4, 1):
        return None
    if target_ip != socket.inet_aton(PEER_ADDRESS):
        return None
    answer = _ARP.pack(1, ETHERTYPE_IPV4, 6, 4, 2, PEER_MAC, target_ip, sender_mac, sender_ip)
    return (_ETHERNET.pack(source, PEER_MAC, ETHERTYPE_ARP) + answer).ljust(MIN_FRAME, b"\0")


def arp_request() -> bytes:
    """Asks for the guest's address, as any station of a network does now and then."""
    question = _ARP.pack(
        *(1, ETHERTYPE_IPV4, 6, 4, 1),
        *(PEER_MAC, socket.inet_aton(PEER_ADDRESS)),
        *(bytes(6), socket.inet_aton(GUEST_ADDRESS)),
    )
    return (_ETHERNET.pack(BROADCAST, PEER_MAC, ETHERTYPE_ARP) + question).ljust(MIN_FRAME, b"\0")


@dataclass(frozen=True)
class Traffic:
    """What to send. `size` None means mixed sizes; pauses are in seconds of host time.

    `window`: how many datagrams may be under way; the guest acknowledges every eighth.
    `ask`: an ARP request follows the last datagram that may be under way, for drivers that may
    leave a frame in the card until another one comes. `distinct`: how many datagrams differ before
    they come again, so that the peer need not make new ones while the guest waits; 0: all.
    `flood`: sends faster than the emulated line takes them, acknowledged or not, until the guest
    has acknowledged as many as it asked for.
    """

    seed: int = 0
    size: int | None = None
    pauses: bool = True
    window: int = WINDOW
    ask: bool = False
    distinct: int = 0
    flood: bool = False


@dataclass
class PeerResult:
    """What was sent. `digest` is the SHA-256 over all payloads in order, in hexadecimal.

    `asked`: how often the peer asked for the guest's address.
    """

    requested: int = 0
    sent: int = 0
    acknowledged: int = 0
    asked: int = 0
    payload_bytes: int = 0
    frame_bytes: int = 0
    digest: str = ""
    first_send_s: float = 0.0
    last_ack_s: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return self.requested > 0 and self.acknowledged == self.requested


class NetPeer(CableEnd):
    """Runs the peer in a thread: start(), later stop() for the result. See CableEnd.

    A guest that asks again when it has acknowledged all gets what `more` says next; the result is
    that of the last one. Frames that are not for this peer go to the UDP port `others`, if there is
    one: a cable may have more ends.
    """

    others: tuple[str, int] | None = None

    def __init__(self, port: int, traffic: Traffic, *more: Traffic) -> None:
        self._traffic = traffic
        self._more = list(more)
        self._random = random.Random(traffic.seed)
        self._hash = hashlib.sha256()
        self._guest_mac: bytes | None = None
        self._burst_left = 0
        self._not_before = 0.0
        self._made: list[tuple[bytes, bytes]] = []
        self.result = PeerResult()
        super().__init__(port, "netpeer", self.result.errors)

    def stop(self) -> PeerResult:
        """Ends the thread and returns what was sent so far."""
        self.end()
        if self._more:
            self.result.errors.append(f"{len(self._more)} transfers were not asked for")
        self.result.digest = self._hash.hexdigest()
        return self.result

    def run(self) -> None:
        """See CableEnd."""
        while not self.stopping:
            wait = 0.2
            if self._may_send():
                wait = max(0.0, min(wait, self._not_before - time.monotonic()))
            frame = self.receive(wait)
            if frame is not None:
                self._take(frame)
            if self._may_send() and time.monotonic() >= self._not_before:
                self._send_next()

    def _may_send(self) -> bool:
        result = self.result
        if self._traffic.flood:
            return result.acknowledged < result.requested
        under_way = result.sent - result.acknowledged
        return result.sent < result.requested and under_way < self._traffic.window

    def _take(self, frame: bytes) -> None:
        answer = arp_reply(frame)
        if answer is not None:
            self.transmit(answer)
            return
        parsed = parse_udp(frame)
        if parsed is None or parsed[1] != PEER_PORT or len(parsed[2]) != _MESSAGE.size:
            if self.others is not None:
                self.pass_on(frame, self.others)
            return
        tag, value = _MESSAGE.unpack(parsed[2])
        if tag == b"RDY!" and (self.result.requested == 0 or self._begin_next()):
            self._guest_mac = frame[6:12]
            self.result.requested = value
        elif tag == b"ACK!":
            if not self.result.acknowledged <= value <= self.result.sent:
                self.result.errors.append(f"acknowledged {value} of {self.result.sent} sent")
            self.result.acknowledged = value
            self.result.last_ack_s = time.monotonic()

    def _begin_next(self) -> bool:
        """Whether there is more to send to this request: the guest repeats one until data comes,
        and frames keep their order, so one that comes after all was acknowledged is another.
        """
        if not self.result.complete or not self._more:
            return False
        self._traffic = self._more.pop(0)
        self._hash = hashlib.sha256()
        self._made.clear()
        self.result = PeerResult(errors=self.result.errors)
        return True

    def _send_next(self) -> None:
        result = self.result
        frame, payload = self._next_frame()
        if result.sent == 0:
            result.first_send_s = time.monotonic()
        self.transmit(frame)
        self._hash.update(payload)
        result.sent += 1
        result.payload_bytes += len(payload)
        result.frame_bytes += len(frame)
        if self._traffic.ask and not self._may_send():
            self.transmit(arp_request())
            result.asked += 1
        if self._traffic.pauses:
            self._schedule_pause()
        if self._traffic.flood and result.sent % _FLOOD_BURST == 0:
            self._not_before = time.monotonic() + _FLOOD_PAUSE_S

    def _next_frame(self) -> tuple[bytes, bytes]:
        """And its payload, which begins with its number."""
        distinct, number = self._traffic.distinct, self.result.sent
        if distinct and number >= distinct:
            return self._made[number % distinct]
        size = self._traffic.size or self._random.randint(MIN_PAYLOAD, MAX_PAYLOAD)
        payload = struct.pack("!I", number) + self._random.randbytes(size - 4)
        assert self._guest_mac is not None
        frame = udp_frame(
            (PEER_MAC, PEER_ADDRESS, PEER_PORT),
            (self._guest_mac, GUEST_ADDRESS, GUEST_PORT),
            payload,
            identification=number,
        )
        if distinct:
            self._made.append((frame, payload))
        return frame, payload

    def _schedule_pause(self) -> None:
        """Datagrams come in bursts of 1 to 48, with up to 30 ms of pause between bursts."""
        if self._burst_left == 0:
            self._burst_left = self._random.randint(1, 48)
            self._not_before = time.monotonic() + self._random.uniform(0.0, 0.03)
        self._burst_left -= 1
