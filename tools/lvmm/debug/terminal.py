"""The user's terminal while a guest's console is shown: keys one by one, messages apart."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
from collections.abc import Iterator
from typing import BinaryIO

LEAVE = b"\x1d"  # Ctrl-]

_IFLAG, _LFLAG = 0, 3  # of termios.tcgetattr()


@contextlib.contextmanager
def single_keys() -> Iterator[None]:
    """While active, a terminal at stdin gives each key at once, Ctrl-C and Enter as they are, and
    does not show it.
    """
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    mode = termios.tcgetattr(sys.stdin)
    mode[_IFLAG] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON)
    mode[_LFLAG] &= ~(termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class Keys:
    """What is typed, or comes through a pipe at stdin."""

    def __init__(self) -> None:
        self._ended = False

    def read(self, seconds: float) -> bytes:
        """What was typed within this time."""
        if self._ended:
            time.sleep(seconds)
            return b""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        typed = os.read(sys.stdin.fileno(), 1 << 10) if ready else b""
        self._ended = bool(ready) and not typed
        return typed


class Screen:
    """The console's bytes go to stdout and to the copy, lines of text to stderr."""

    def __init__(self, copy: BinaryIO | None = None) -> None:
        self._copy = copy
        self._in_line = False

    def show(self, data: bytes) -> None:
        """Shows what the guest wrote."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        self._in_line = not data.endswith(b"\n")
        if self._copy is not None:
            self._copy.write(data)
            self._copy.flush()

    def say(self, line: str) -> None:
        """Shows a line that is not the guest's."""
        if self._in_line and sys.stdout.isatty() and sys.stderr.isatty():
            line = f"\n{line}"
            self._in_line = False
        print(line, file=sys.stderr, flush=True)
