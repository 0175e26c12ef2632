"""gdb and `lvmm attach` at a machine that one of our runs has started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvmm.debug import stops
from lvmm.debug.service import GdbOptions, GdbService
from lvmm.debug.shared_line import SharedLine
from lvmm.errors import LvmmError
from lvmm.link.relay import Typewriter
from lvmm.monitor_line import MonitorLine


@dataclass(frozen=True)
class AttachPort:
    """Where `lvmm attach` finds the monitor's line. `port` 0 is any free one; with `wait` the guest
    is stopped before its first instruction; `say` gets lines for the user.
    """

    port: int
    wait: bool
    say: Callable[[str], None]


class RunDebugger:
    """Those who look at a run, from the guest's start until it is over and they have left."""

    def __init__(
        self,
        line: MonitorLine,
        gdb: GdbOptions | None,
        attach: AttachPort | None,
        typewriter: Typewriter,
        say: Callable[[str], None],
    ) -> None:
        self._line = line
        self._say = say
        self._gdb = GdbService(line.link, gdb) if gdb else None
        self._shared = None
        if attach is not None:
            self._shared = SharedLine(line.link, attach.port, typewriter, attach.say)
            line.audience = self._shared
        self._told_end = False

    def attend(self, stays: bool) -> None:
        """Serves from the guest's start on; `stays`: the run is over, and it waits for somebody."""
        if self._line.report.running:
            if self._gdb is not None:
                self._gdb.start()
            if self._shared is not None:
                self._shared.start()
        if stays and not self._told_end and not self.left():
            self._told_end = True
            who = "attach leaves" if self._gdb_left() else "gdb detaches"
            self._say(
                f"the run is over; memory and registers can be looked at until {who}, or Ctrl-C"
            )

    def left(self) -> bool:
        """Whether nobody wants to look at the end, or there was no guest."""
        attached = self._shared is not None and self._shared.attached
        return not self._line.report.running or (self._gdb_left() and not attached)

    def _gdb_left(self) -> bool:
        """Whether gdb has detached, before or after the end: if it never was there, it may come."""
        return self._gdb is None or self._gdb.seen_out or self._gdb.detached

    def altered(self) -> bool:
        """Whether the guest was changed by a forced write, as far as the monitor answers."""
        if not self._line.link.in_session:
            return False
        try:
            return stops.altered(self._line.link.status())
        except LvmmError:
            return False

    def close(self) -> None:
        """Sends them away. A second call does nothing."""
        for served in (self._gdb, self._shared):
            if served is not None:
                served.close()
