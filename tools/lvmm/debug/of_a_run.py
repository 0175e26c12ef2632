"""gdb at a machine that one of our runs has started."""

from __future__ import annotations

from lvmm.debug import stops
from lvmm.debug.service import GdbOptions, GdbService
from lvmm.errors import LvmmError
from lvmm.monitor_line import MonitorLine


class RunDebugger:
    """gdb's side of a run."""

    def __init__(self, line: MonitorLine, options: GdbOptions) -> None:
        self._line = line
        self._options = options
        self._service = GdbService(line.link, options)
        self._told_end = False

    def attend(self, stays: bool) -> None:
        """Serves gdb from the guest's start on; `stays`: the run is over, and it waits for gdb."""
        if self._line.report.running:
            self._service.start()
        if stays and not self._told_end:
            self._told_end = True
            self._options.say(
                "the run is over; memory and registers can be looked at until gdb detaches, "
                "or Ctrl-C"
            )

    def left(self) -> bool:
        """Whether a debugger has seen the end and is gone, or there is no guest to look at."""
        return self._service.seen_out or not self._line.report.running

    def altered(self) -> bool:
        """Whether the guest was changed by a forced write, as far as the monitor answers."""
        if not self._line.link.in_session:
            return False
        try:
            return stops.altered(self._line.link.status())
        except LvmmError:
            return False

    def close(self) -> None:
        self._service.close()
