"""The host's end of the cable for the sample appliance: pings it, and checks each echo.

    python3 -m lvmm.echo_peer PORT [--count N] [--seed N]

sends to the guest of a run with `--net-port PORT`, until all is answered, then asks it to end.
Frames are those of lvmm.netpeer, and ICMP echo (RFC 792). Addresses are fixed: the appliance's is
192.168.77.2.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import struct
import sys
import time
import zlib
from dataclasses import dataclass, field

from lvmm.cable_end import CableEnd
from lvmm.netpeer import (
    BROADCAST,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    GUEST_ADDRESS,
    MIN_FRAME,
    PEER_ADDRESS,
    PEER_MAC,
    PEER_PORT,
    internet_checksum,
    parse_udp,
    udp_frame,
)

ECHO_PORT = 7
DISCARD_PORT = 9
WINDOW = 12  # requests under way: fewer than the appliance's descriptors, so that it drops none
MIN_PAYLOAD = 8
MAX_PAYLOAD = 1472
AGAIN_S = 0.25  # between two ARP requests, or two requests to end

_IP_PROTOCOL_ICMP = 1
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_ICMP_IDENTIFIER = 0x4C56
_HEADERS = 34  # bytes, of Ethernet and IPv4
_ICMP_HEADER = struct.Struct("!BBHHH")


def arp_request() -> bytes:
    """Asks for the appliance's MAC address (RFC 826)."""
    sender = PEER_MAC + socket.inet_aton(PEER_ADDRESS)
    target = bytes(6) + socket.inet_aton(GUEST_ADDRESS)
    head = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 1)
    frame = BROADCAST + PEER_MAC + struct.pack("!H", ETHERTYPE_ARP) + head + sender + target
    return frame.ljust(MIN_FRAME, b"\0")


def guest_mac(frame: bytes) -> bytes | None:
    """The MAC address in an ARP reply of the appliance's; None for any other frame."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ETHERTYPE_ARP):
        return None
    if frame[20:22] != b"\0\2" or frame[28:32] != socket.inet_aton(GUEST_ADDRESS):
        return None
    return frame[22:28]


def ping_frame(mac: bytes, sequence: int, payload: bytes) -> bytes:
    """An ICMP echo request."""
    bare = _ICMP_HEADER.pack(_ECHO_REQUEST, 0, 0, _ICMP_IDENTIFIER, sequence) + payload
    icmp = bare[:2] + struct.pack("!H", internet_checksum(bare)) + bare[4:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), sequence, 0, 64, _IP_PROTOCOL_ICMP, 0)
    ip = head + socket.inet_aton(PEER_ADDRESS) + socket.inet_aton(GUEST_ADDRESS)
    ip = ip[:10] + struct.pack("!H", internet_checksum(ip)) + ip[12:]
    frame = mac + PEER_MAC + struct.pack("!H", ETHERTYPE_IPV4) + ip + icmp
    return frame.ljust(MIN_FRAME, b"\0")


def parse_ping(frame: bytes) -> tuple[int, bytes] | None:
    """(sequence number, payload) of a sound ICMP echo reply; None for any other frame."""
    if len(frame) < _HEADERS + _ICMP_HEADER.size or frame[12:15] != b"\x08\x00\x45":
        return None
    length = int.from_bytes(frame[16:18], "big")
    icmp = frame[_HEADERS : 14 + length]
    if frame[23] != _IP_PROTOCOL_ICMP or internet_checksum(frame[14:_HEADERS]) != 0:
        return None
    if len(icmp) != length - 20 or len(icmp) < _ICMP_HEADER.size or internet_checksum(icmp) != 0:
        return None
    kind, code, _, identifier, sequence = _ICMP_HEADER.unpack_from(icmp)
    if (kind, code, identifier) != (_ECHO_REPLY, 0, _ICMP_IDENTIFIER):
        return None
    return sequence, icmp[_ICMP_HEADER.size :]


@dataclass
class EchoResult:
    """What was sent and came back; `errors` are replies that no request explains.

    `digest` is the CRC-32 of all payloads sent, in order; `to_guest` and `from_guest` are all
    frames.
    """

    requested: int
    sent: int = 0
    answered: int = 0
    digest: int = 0
    errors: list[str] = field(default_factory=list)
    to_guest: list[bytes] = field(default_factory=list, repr=False)
    from_guest: list[bytes] = field(default_factory=list, repr=False)

    @property
    def complete(self) -> bool:
        return self.answered == self.requested and not self.errors


class EchoPeer(CableEnd):
    """Runs the peer in a thread: start(), later stop() for the result. See CableEnd.

    Requests are ICMP and UDP by turns, of random sizes; at most `window` are under way.
    """

    def __init__(self, port: int, count: int, seed: int = 0, window: int = WINDOW) -> None:
        self.result = EchoResult(count)
        self._window = window
        self._random = random.Random(seed)
        self._mac: bytes | None = None
        self._waiting: dict[int, bytes] = {}
        self._not_before = 0.0
        super().__init__(port, "echo peer", self.result.errors)

    def stop(self) -> EchoResult:
        """Ends the thread and returns what happened so far."""
        self.end()
        return self.result

    def run(self) -> None:
        """See CableEnd."""
        while not self.stopping:
            while self._may_send():
                self._send_next()
            if time.monotonic() >= self._not_before:
                self._ask_again()
            frame = self.receive(0.05)
            if frame is not None:
                self._take(frame)

    def _may_send(self) -> bool:
        more = self.result.sent < self.result.requested
        return self._mac is not None and more and len(self._waiting) < self._window

    def _send_next(self) -> None:
        assert self._mac is not None
        number = self.result.sent
        payload = self._random.randbytes(self._random.randint(MIN_PAYLOAD, MAX_PAYLOAD))
        payload = struct.pack("!I", number) + payload[4:]
        if number % 2:
            frame = ping_frame(self._mac, number & 0xFFFF, payload)
        else:
            frame = self._datagram(self._mac, ECHO_PORT, payload)
        self._waiting[number] = payload
        self.result.sent += 1
        self.result.digest = zlib.crc32(payload, self.result.digest)
        self.transmit(frame)

    def _datagram(self, mac: bytes, port: int, payload: bytes) -> bytes:
        source = (PEER_MAC, PEER_ADDRESS, PEER_PORT)
        return udp_frame(source, (mac, GUEST_ADDRESS, port), payload, self.result.sent)

    def _ask_again(self) -> None:
        """An ARP request, until it is answered; at the end the request to end."""
        self._not_before = time.monotonic() + AGAIN_S
        if self._mac is None:
            self.transmit(arp_request())
        elif self.result.answered == self.result.requested:
            self.transmit(self._datagram(self._mac, DISCARD_PORT, b"quit"))

    def _take(self, frame: bytes) -> None:
        self.result.from_guest.append(frame)
        if self._mac is None:
            self._mac = guest_mac(frame)
            return
        ping = parse_ping(frame)
        datagram = parse_udp(frame)
        if ping is not None:
            payload = ping[1]
        elif datagram is not None and datagram[:2] == (ECHO_PORT, PEER_PORT):
            payload = datagram[2]
        elif guest_mac(frame) is None:
            self.result.errors.append(f"not an echo: {frame[:64].hex()}")
            return
        else:
            return
        number = int.from_bytes(payload[:4], "big")
        if self._waiting.get(number) != payload:
            self.result.errors.append(f"no request {number} with these {len(payload)} bytes")
            return
        del self._waiting[number]
        self.result.answered += 1

    def transmit(self, frame: bytes) -> None:
        """See CableEnd."""
        self.result.to_guest.append(frame)
        super().transmit(frame)


def main() -> int:
    """Runs the peer until Ctrl-C. Exit code 0: all echoes were right."""
    parser = argparse.ArgumentParser(description="Pings the sample appliance and checks its echoes")
    parser.add_argument("port", type=int, help="the --net-port of the run")
    parser.add_argument("--count", type=int, default=1000, help="requests to send (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of sizes and contents (%(default)s)")
    options = parser.parse_args()
    try:
        peer = EchoPeer(options.port, options.count, options.seed)
    except OSError as error:
        print(f"echo_peer: UDP port {options.port + 1}: {error.strerror}", file=sys.stderr)
        return 1
    with contextlib.suppress(KeyboardInterrupt):
        peer.run()
    result = peer.stop()
    print(f"{result.answered} of {result.sent} requests answered, {len(result.errors)} errors")
    return 0 if result.complete else 3


if __name__ == "__main__":
    sys.exit(main())
