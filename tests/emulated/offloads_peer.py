"""The peer of tests/guests/offloads: checks each packet that the guest's card has made.

Checksums by RFC 1071 (RFC 791, 768, 9293); what comes must follow what came before.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections import Counter

from lvmm.cable_end import CableEnd
from lvmm.netpeer import PEER_MAC, PEER_PORT, internet_checksum

# Bytes of data of the frames that the guest sends, one after the other, as in offloads.c.
ROUND = (60_000, 1_400, 8_900, 60_000, 1_000)
ROUNDS = 4

ANSWER_BYTES = 1_500
_ANSWER_TYPE = 0x88B5
_ETHERNET_BYTES, _IPV4_BYTES = 14, 20
_IPV4_TYPE = b"\x08\x00"
_TCP, _UDP = 6, 17


class OffloadsPeer(CableEnd):
    """Takes what the guest sends, and answers each frame of `ROUND` with random bytes."""

    def __init__(self, port: int, seed: int) -> None:
        self.errors: list[str] = []
        self.sizes: Counter[int] = Counter()  # of the packets, by their bytes of data
        self._sent = hashlib.sha256()
        self._received = hashlib.sha256()
        self._random = random.Random(seed)
        self._awaited = list(ROUND) * ROUNDS
        self._left = self._awaited.pop(0)
        self._sequence = 0
        super().__init__(port, "offloads", self.errors)

    @property
    def sent_digest(self) -> str:
        """Of what went to the guest."""
        return self._sent.hexdigest()

    @property
    def received_digest(self) -> str:
        """Of what came from it."""
        return self._received.hexdigest()

    def run(self) -> None:
        """See CableEnd."""
        while not self.stopping:
            frame = self.receive(0.2)
            if frame is not None and frame[12:14] == _IPV4_TYPE:
                self._take(frame[6:12], frame[_ETHERNET_BYTES:])

    def _take(self, guest: bytes, packet: bytes) -> None:
        total, protocol = struct.unpack_from("!2xH5xB", packet)
        segment = packet[_IPV4_BYTES:total]
        port = int.from_bytes(segment[2:4], "big")
        if protocol not in (_TCP, _UDP) or port != PEER_PORT:
            return
        if len(packet) != total:
            self.errors.append(f"a packet of {total} bytes in a frame for {len(packet)}")
        self._check(packet[:_IPV4_BYTES], "the IP header's checksum")
        pseudo = packet[12:20] + struct.pack("!BBH", 0, protocol, len(segment))
        self._check(pseudo + segment, f"the checksum of protocol {protocol}")
        data = segment[(segment[12] >> 4) * 4 if protocol == _TCP else 8 :]
        if protocol == _TCP:
            self._check_order(int.from_bytes(segment[4:8], "big"))
        self._account(guest, data)

    def _check(self, data: bytes, what: str) -> None:
        if internet_checksum(data) != 0:
            self.errors.append(f"{what} is wrong")

    def _check_order(self, sequence: int) -> None:
        if sequence != self._sequence:
            self.errors.append(f"sequence number {sequence}, not {self._sequence}")

    def _account(self, guest: bytes, data: bytes) -> None:
        self._received.update(data)
        self._sequence += len(data)
        self.sizes[len(data)] += 1
        self._left -= len(data)
        if self._left == 0:
            answer = self._random.randbytes(ANSWER_BYTES)
            self._sent.update(answer)
            self.transmit(guest + PEER_MAC + _ANSWER_TYPE.to_bytes(2, "big") + answer)
            self._left = self._awaited.pop(0) if self._awaited else 0
