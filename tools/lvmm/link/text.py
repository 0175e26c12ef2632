"""Lines of text out of a stream of bytes that may be damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LONGEST_LINE = 1 << 20  # bytes; the monitor's lines are far shorter

# Control characters that no line of text has: all but tab and escape.
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")


class TextLines:
    """Splits bytes into lines. A line with control characters, or that is not UTF-8, is dropped:
    it holds a piece of a damaged frame. `dropped` counts these.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = False  # up to the end of the line
        self.dropped = 0

    @property
    def in_line(self) -> bool:
        """Whether a line has begun and not ended."""
        return self._skipping or bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[str]:
        """Takes bytes; gives the lines that are whole now, without their ends."""
        if self._skipping:
            _, end, data = data.partition(b"\n")
            self._skipping = not end
        self._buffer += data
        *whole, rest = self._buffer.split(b"\n")
        self._buffer = rest if len(rest) <= _LONGEST_LINE else bytearray()
        for line in whole:
            yield from self._text(line)

    def cut(self, in_line: bool) -> None:
        """Bytes were lost here: forgets the line that has begun, and when the next bytes are within
        a line, these too.
        """
        self._buffer.clear()
        self._skipping = in_line

    def rest(self) -> Iterator[str]:
        """Gives the last line, which has no end, and forgets it."""
        line, self._buffer = self._buffer, bytearray()
        if line:
            yield from self._text(line)

    def _text(self, line: bytearray) -> Iterator[str]:
        line = line.rstrip(b"\r")
        try:
            if _CONTROL.search(line) is None:
                yield line.decode()
                return
        except UnicodeDecodeError:
            pass
        self.dropped += 1
