"""The monitor's end of a link (link_machine.py) behind a TCP port, as on an emulated board."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.host.link_machine import LinkMachine


@contextlib.contextmanager
def serving(machine: LinkMachine) -> Iterator[str]:
    """Serves one client after the other; gives the line's address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, machine), daemon=True)
        thread.start()
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def _serve(server: socket.socket, machine: LinkMachine) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # the test is over
            return
        with client, contextlib.suppress(ConnectionError):
            while data := client.recv(100):
                client.sendall(machine.line(data))
