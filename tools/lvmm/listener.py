"""A TCP port of the loopback interface that is taken at once and opened later."""

from __future__ import annotations

import errno
import socket as sockets

from lvmm.errors import EnvironmentProblem

HOST = "127.0.0.1"


class Listener:
    """Takes the port; until open() is called a connection to it is refused, and not left to wait.

    `purpose` and `option` are for the message when the port cannot be had (EnvironmentProblem, also
    of open(), where another program was faster). Port 0 is any free one: see `port`.
    """

    def __init__(self, port: int, purpose: str, option: str) -> None:
        self._purpose = purpose
        self._option = option
        self._asked = port
        self.socket = sockets.socket(sockets.AF_INET, sockets.SOCK_STREAM)
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            self.socket.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise self._problem(error) from None
        self.port: int = self.socket.getsockname()[1]

    def open(self) -> None:
        """Connections are taken from now on; accept() does not wait."""
        try:
            self.socket.listen()
        except OSError as error:
            raise self._problem(error) from None
        self.socket.setblocking(False)

    def close(self) -> None:
        """Gives the port back."""
        self.socket.close()

    def _problem(self, error: OSError | OverflowError) -> EnvironmentProblem:
        self.socket.close()
        port = f"port {self._asked} {self._purpose}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return EnvironmentProblem(f"{port} is in use: choose another one by {self._option}")
        return EnvironmentProblem(f"cannot listen on {port}: {error}")
