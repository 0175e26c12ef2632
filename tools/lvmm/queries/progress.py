"""How far a search is, on stderr."""

from __future__ import annotations

import time
from typing import TextIO

_TERMINAL_S = 0.5
_LINE_S = 10.0


class SearchProgress:
    """On a terminal a line that changes, elsewhere one now and then."""

    def __init__(self, total: int, stream: TextIO) -> None:
        """`total` is the recording's number of events."""
        self._total = max(total, 1)
        self._stream = stream
        self._terminal = stream.isatty()
        self._every = _TERMINAL_S if self._terminal else _LINE_S
        self._due = time.monotonic() + self._every
        self._shown = False

    def __call__(self, events: int, found: int) -> None:
        """So many events were replayed, and so much was found."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self._every
        share = min(100 * events // self._total, 100)
        text = f"lvmm: searched {share}% ({events} of {self._total} events), {found} found"
        self._shown = self._terminal
        start, end = ("\r", "\x1b[K") if self._terminal else ("", "\n")
        print(f"{start}{text}", end=end, file=self._stream, flush=True)

    def close(self) -> None:
        """Leaves an empty line."""
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
