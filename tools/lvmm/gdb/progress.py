"""Tells the user how far a long way back is, not too often."""

from __future__ import annotations

import time

from lvmm.gdb.target import Target

_EVERY_S = 2.0


class Progress:
    """What the target says of its way, when it is new and was not told for a while."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.restart()

    def restart(self) -> None:
        """The way begins now."""
        self._next = time.monotonic() + _EVERY_S
        self._told = ""

    def line(self) -> str:
        """A line with its end; empty where there is nothing to tell."""
        if time.monotonic() < self._next:
            return ""
        text = self._target.progress()
        if not text or text == self._told:
            return ""
        self._told = text
        self._next = time.monotonic() + _EVERY_S
        return f"{text}\n"
