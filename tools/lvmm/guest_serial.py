"""The guest's serial port on an emulated board: a TCP connection of the emulator to the tool.

What the guest writes goes to a file, as it comes; what is typed waits in the connection until the
guest's UART takes it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import BinaryIO

_READ_MAX = 1 << 16
_JOIN_SECONDS = 10.0


class GuestSerial:
    """The tool's end of the connection. `output` can be read while it grows."""

    def __init__(self, connected: socket.socket, output: Path) -> None:
        self._socket = connected
        self._output: BinaryIO = output.open("wb", buffering=0)
        self._thread = threading.Thread(target=self._run, name="lvmm-guest-serial", daemon=True)
        self._thread.start()

    def type(self, data: bytes) -> int:
        """Sends to the guest; returns how many bytes were taken: fewer, perhaps none, when the
        guest reads nothing. Raises OSError when the emulator has ended.
        """
        try:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def drain(self) -> None:
        """To be called when the emulator has ended: returns when all of its output is written."""
        self._thread.join(_JOIN_SECONDS)

    def close(self) -> None:
        """Gives the connection up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.drain()
        self._socket.close()

    def _run(self) -> None:
        """Nothing is written to a full disk, but the guest goes on: the recording has it too."""
        with self._output, contextlib.suppress(OSError):
            while data := self._receive():
                with contextlib.suppress(OSError):
                    self._output.write(data)

    def _receive(self) -> bytes:
        data = self._socket.recv(_READ_MAX)
        # The emulator sends single bytes, each held back until the last is acknowledged (Nagle).
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data
