"""The guest's console, as the monitor's ring has it, over the debug link."""

from __future__ import annotations

from collections.abc import Callable

from lvmm.link import LinkClient, SessionLost


class ConsoleView:
    """Gives what the guest writes to `show`, and remarks about it to `say`.

    It starts with the oldest byte that the monitor still has.
    """

    def __init__(
        self, link: LinkClient, show: Callable[[bytes], None], say: Callable[[str], None]
    ) -> None:
        self._link = link
        self._show = show
        self._say = say
        self._at = 0

    def update(self) -> None:
        """Shows what was written since the last time. Raises LinkError."""
        try:
            if self._link.status().console_end > self._at:  # a replay that went back has less
                self._read()
        except SessionLost as error:
            self._say(f"lvmm: {error}")
            self._at = 0

    def _read(self) -> None:
        while True:
            start, data, end = self._link.read_console(self._at)
            if start > self._at:
                self._say(f"lvmm: {start - self._at} bytes of the console are lost")
            self._show(data)
            self._at = start + len(data)
            if self._at >= end or not data:
                return
