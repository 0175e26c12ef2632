"""The host's end of the emulated cable: a thread that sends and receives Ethernet frames.

Bochs's "socket" packet mover takes each UDP datagram on loopback port N as one Ethernet frame for
the guest's card and sends the guest's frames to port N+1.
"""

from __future__ import annotations

import select
import socket
import threading

_FRAME_MAX = 16384  # bytes; more than the card sends, long frames among them


class CableEnd:
    """What runs in the thread is `run()`, until `stopping`: start(), later end().

    `port` is the UDP port of the emulator's packet mover. `errors` says what could not be sent.
    Raises OSError from the constructor when port + 1 is taken.
    """

    def __init__(self, port: int, name: str, errors: list[str]) -> None:
        self._emulator = ("127.0.0.1", port)
        self._errors = errors
        self._stop = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("127.0.0.1", port + 1))
        except OSError:
            self._socket.close()
            raise
        self._socket.setblocking(False)
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether run() is to return."""
        return self._stop.is_set()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Ends the thread, if there is one, and closes the line."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def run(self) -> None:
        """Sends and receives until it is to stop."""
        raise NotImplementedError

    def receive(self, seconds: float) -> bytes | None:
        """The next frame of the guest's; None when none came for so long."""
        readable, _, _ = select.select([self._socket], [], [], seconds)
        if not readable:
            return None
        try:
            return self._socket.recv(_FRAME_MAX)
        except BlockingIOError:
            return None

    def transmit(self, frame: bytes) -> None:
        """Sends a frame to the guest; where that fails the run is over."""
        self.pass_on(frame, self._emulator)

    def pass_on(self, frame: bytes, end: tuple[str, int]) -> None:
        """Likewise, to another end of the cable."""
        try:
            self._socket.sendto(frame, end)
        except OSError as error:
            self._errors.append(f"cannot send a frame to port {end[1]}: {error}")
            self._stop.set()
