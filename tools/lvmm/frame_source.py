"""Frames that nobody asked for: for guests that only listen."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lvmm.netpeer import BROADCAST, PEER_MAC

_LOCAL_EXPERIMENTAL = b"\x88\xb5"  # EtherType, IEEE 802


@contextmanager
def frames_to(port: int, seed: int, pause_s: float = 0.01) -> Iterator[None]:
    """Sends broadcast frames of random content and size, one each `pause_s`, until it is left."""
    done = threading.Event()
    generator = random.Random(seed)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
            while not done.wait(pause_s):
                body = generator.randbytes(generator.randint(50, 1400))
                frame = BROADCAST + PEER_MAC + _LOCAL_EXPERIMENTAL + body
                line.sendto(frame, ("127.0.0.1", port))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield
    finally:
        done.set()
        sender.join()
