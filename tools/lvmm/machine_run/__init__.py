"""One run of an emulated machine with the monitor: start, watch both serial lines, end.

The guest's console is passed through while the machine runs; the run ends when the monitor says
that the guest has ended, when the emulator ends, at the deadline, or at Ctrl-C (the monitor is
then asked to stop the guest, so that a recording is sealed). With a debugger, a guest that has
ended stays there to be looked at until the debugger leaves, or Ctrl-C; one that has detached before
does not want to see it.
"""

from lvmm.machine_run.options import ConsoleSink, Mark, RunOptions, RunResult, Visitor
from lvmm.machine_run.run import run_machine
from lvmm.machine_run.stop_request import StopRequest
from lvmm.machine_run.watcher import cpu_seconds

__all__ = [
    "ConsoleSink",
    "Mark",
    "RunOptions",
    "RunResult",
    "StopRequest",
    "Visitor",
    "cpu_seconds",
    "run_machine",
]
