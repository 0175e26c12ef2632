"""How somebody else ends a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Set by Ctrl-C (once: stop in order; twice: at once) or by another thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.at_once = False

    def request(self) -> None:
        if self._event.is_set():
            self.at_once = True
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Waits for a request, up to so long."""
        self._event.wait(seconds)

    @contextmanager
    def from_ctrl_c(self) -> Iterator[None]:
        """While active, SIGINT and SIGTERM make a request and do nothing else."""

        def handle(_signal: int, _frame: FrameType | None) -> None:
            self.request()

        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, handle) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)
