"""The line of an emulated board for other tools, one after the other."""

from __future__ import annotations

import contextlib
import select
import socket
import threading


class Relay:
    """Passes the machine's line on to whoever connects, one after the other, and notes the text."""

    def __init__(self, machine: socket.socket) -> None:
        self._machine = machine
        self._server = socket.create_server(("127.0.0.1", 0))
        self._done = threading.Event()
        self.text = bytearray()
        self.address = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        client: socket.socket | None = None
        while not self._done.is_set():
            streams = [self._machine, self._server, *([client] if client else [])]
            for stream in select.select(streams, [], [], 0.1)[0]:
                if stream is self._server:
                    client = self._server.accept()[0]
                elif stream is self._machine:
                    data = self._machine.recv(1 << 12)
                    self.text += data
                    with contextlib.suppress(OSError):
                        if client:
                            client.sendall(data)
                elif client:
                    data = b""
                    with contextlib.suppress(ConnectionError):  # a client that was killed
                        data = client.recv(1 << 12)
                    if data:
                        self._machine.sendall(data)
                    else:
                        client.close()
                        client = None

    def close(self) -> None:
        self._done.set()
        self._thread.join(10)
        self._server.close()
