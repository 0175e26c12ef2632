"""One client's socket: packets in, packets out, acknowledgements."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from lvmm.gdb.packet import Deframer, Mark, Packet, frame

# A client that takes nothing for so long is gone.
_SEND_TIMEOUT_S = 10.0


class ConnectionGone(Exception):
    """The client closed the connection, or takes nothing any more."""


class Connection:
    """Framing and acknowledgement over one socket."""

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(_SEND_TIMEOUT_S)
        with contextlib.suppress(OSError):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = stream
        self.no_ack = False
        self._deframer = Deframer()
        self._last = b""

    def receive(self) -> Iterator[bytes | None]:
        """The packets that have come, acknowledged; None for an interrupt.

        To be called when the socket is readable. Raises ConnectionGone.
        """
        try:
            data = self.stream.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            raise ConnectionGone
        for item in self._deframer.feed(data):
            match item:
                case Packet():
                    if not self.no_ack:
                        self._send(b"+")
                    yield item.data
                case Mark.INTERRUPT:
                    yield None
                case Mark.BROKEN if not self.no_ack:
                    self._send(b"-")
                case Mark.NAK if not self.no_ack:
                    self._send(self._last)

    def send(self, data: bytes) -> None:
        """Send a packet. Raises ConnectionGone."""
        self._last = frame(data)
        self._send(self._last)

    def close(self) -> None:
        """Close it; what was sent still arrives."""
        with contextlib.suppress(OSError):
            self.stream.shutdown(socket.SHUT_WR)
        self.stream.close()

    def _send(self, data: bytes) -> None:
        try:
            self.stream.sendall(data)
        except OSError:
            raise ConnectionGone from None
