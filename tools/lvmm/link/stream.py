"""The byte streams that a debug link can run over: sockets and serial ports."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import socket
from typing import Protocol

import serial

from lvmm.errors import EnvironmentProblem, UsageError
from lvmm.link.errors import LinkClosed

BAUD_RATE = 115200
READ_SECONDS = 0.1  # how long a read waits for the first byte
WRITE_SECONDS = 10.0  # for one write; a line that takes nothing for so long is as good as closed
CONNECT_SECONDS = 10.0
_READ_MAX = 1 << 16
_PORT_MAX = 65535

_HOST_AND_PORT = re.compile(r"(?:socket://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]*):([0-9]{1,5})")


class ByteStream(Protocol):
    """A line to a monitor. One thread may read while another one writes."""

    def read(self) -> bytes:
        """The bytes that are there; b"" when none came for a short while.

        Raises LinkClosed when the line is closed.
        """

    def write(self, data: bytes) -> None:
        """Sends all of the bytes; raises LinkClosed when that is not possible."""

    def close(self) -> None:
        """Gives the line up."""


class SocketStream:
    """A connected TCP or Unix socket, which it closes in the end."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.settimeout(WRITE_SECONDS)
        with contextlib.suppress(OSError):  # not a TCP socket
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> bytes:
        """See ByteStream."""
        try:
            if not select.select([self._socket], [], [], READ_SECONDS)[0]:
                return b""
            data = self._socket.recv(_READ_MAX)
            self._acknowledge()
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            raise LinkClosed(f"the line to the monitor is closed: {error}") from error
        if not data:
            raise LinkClosed("the line to the monitor was closed by its other end")
        return data

    def _acknowledge(self) -> None:
        """At once: the emulator sends single bytes, each held back until the last is acknowledged
        (Nagle).
        """
        with contextlib.suppress(OSError):  # not a TCP socket
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def write(self, data: bytes) -> None:
        """See ByteStream."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LinkClosed(f"cannot write to the monitor's line: {error}") from error

    def close(self) -> None:
        """See ByteStream."""
        self._socket.close()


class SerialStream:
    """A serial port, here or behind a terminal server, opened by pyserial."""

    def __init__(self, port: serial.Serial) -> None:
        self._port = port

    def read(self) -> bytes:
        """See ByteStream."""
        try:
            first: bytes = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except (OSError, TypeError) as error:  # TypeError: closed by another thread
            raise LinkClosed(f"cannot read the serial port: {error}") from error

    def write(self, data: bytes) -> None:
        """See ByteStream."""
        try:
            self._port.write(data)
        except OSError as error:
            raise LinkClosed(f"cannot write to the serial port: {error}") from error

    def close(self) -> None:
        """See ByteStream."""
        self._port.close()


def open_stream(address: str, baud_rate: int = BAUD_RATE) -> ByteStream:
    """Opens HOST:PORT, socket://HOST:PORT, a device like /dev/ttyUSB0, or rfc2217://HOST:PORT.

    Raises UsageError for anything else and EnvironmentProblem when it cannot be opened.
    """
    match = _HOST_AND_PORT.fullmatch(address)
    if match is not None:
        return _open_socket(match[1].strip("[]") or "localhost", int(match[2]))
    if not address.startswith(("/", "rfc2217://")):
        raise UsageError(
            f"{address!r} is no serial line: give HOST:PORT, socket://HOST:PORT, "
            "rfc2217://HOST:PORT or a device like /dev/ttyUSB0"
        )
    local = address.startswith("/")
    try:
        port = serial.serial_for_url(
            address,
            baudrate=baud_rate,
            timeout=READ_SECONDS,
            write_timeout=WRITE_SECONDS if local else None,  # RFC 2217 ports have their own
            exclusive=True if local else None,
        )
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"cannot open the serial line {address}: {_reason(error)}"
        ) from error
    return SerialStream(port)


def _open_socket(host: str, port: int) -> SocketStream:
    if not 1 <= port <= _PORT_MAX:
        raise UsageError(f"{host}:{port}: a TCP port is from 1 to {_PORT_MAX}")
    try:
        return SocketStream(socket.create_connection((host, port), CONNECT_SECONDS))
    except OSError as error:
        raise EnvironmentProblem(f"cannot connect to {host}:{port}: {_reason(error)}") from error


def _reason(error: OSError | ValueError) -> str:
    """Without what pyserial says before it."""
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return str(error)
