"""A raw client of gdb's remote serial protocol, written from the manual and not from the server."""

from __future__ import annotations

import socket


class Client:
    """One connection. Everything is in acknowledged mode until no_ack()."""

    def __init__(self, port: int, timeout_s: float = 30) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.acks = True
        self._buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def send(self, payload: bytes) -> None:
        self.raw(framed(payload))

    def raw(self, data: bytes) -> None:
        """Raises EOFError when the server has closed the connection."""
        try:
            self.stream.sendall(data)
        except ConnectionError:
            raise EOFError from None

    def byte(self) -> bytes:
        """One byte. Raises EOFError at the connection's end."""
        if not self._buffer:
            try:
                self._buffer = self.stream.recv(1 << 16)
            except ConnectionError:
                raise EOFError from None
            if not self._buffer:
                raise EOFError
        byte, self._buffer = self._buffer[:1], self._buffer[1:]
        return byte

    def receive(self) -> bytes:
        """The next packet, expanded and acknowledged. Nothing but acks may come before it."""
        while (byte := self.byte()) != b"$":
            assert byte in (b"+", b"-"), byte
            assert self.acks, "an acknowledgement in no-ack mode"
        data = b""
        while (byte := self.byte()) != b"#":
            data += byte
        assert int(self.byte() + self.byte(), 16) == sum(data) % 256
        if self.acks:
            self.raw(b"+")
        return expanded(data)

    def ask(self, payload: bytes) -> bytes:
        """The reply to a packet."""
        self.send(payload)
        return self.receive()

    def no_ack(self) -> None:
        assert self.ask(b"QStartNoAckMode") == b"OK"
        self.acks = False

    def console(self, command: str) -> str:
        """What `monitor COMMAND` shows."""
        self.send(b"qRcmd," + command.encode().hex().encode())
        return self.shown()[0]

    def shown(self) -> tuple[str, bytes]:
        """Console output up to the next other packet, and that packet."""
        text = b""
        while (reply := self.receive())[:1] == b"O" and reply != b"OK":
            text += bytes.fromhex(reply[1:].decode())
        return text.decode(), reply


def framed(payload: bytes) -> bytes:
    return b"$" + payload + b"#" + f"{sum(payload) % 256:02x}".encode()


def escaped(data: bytes) -> bytes:
    return b"".join(b"}" + bytes([b ^ 0x20]) if b in b"#$}*" else bytes([b]) for b in data)


def unescaped(data: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == ord("}"):
            at += 1
            out.append(data[at] ^ 0x20)
        else:
            out.append(data[at])
        at += 1
    return bytes(out)


def expanded(data: bytes) -> bytes:
    """Without run-length encoding: `X*c` is X and ord(c) - 29 more of it."""
    out, at = bytearray(), 0
    while at < len(data):
        if data[at] == ord("*"):
            assert 32 <= data[at + 1] <= 126 and out
            out += out[-1:] * (data[at + 1] - 29)
            at += 2
        elif data[at] == ord("}"):
            out += data[at : at + 2]
            at += 2
        else:
            out.append(data[at])
            at += 1
    return bytes(out)
