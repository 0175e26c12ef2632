"""What went wrong with a run."""

from __future__ import annotations

from lvmm.errors import MachineError, MachineTimeout
from lvmm.machine_run import RunResult


def raise_run_error(result: RunResult) -> None:
    """Raises what went wrong with the machine, the monitor or the deadline, if anything."""
    if result.error is not None:
        raise result.error
    report = result.report
    if report.halted is None:
        if result.timed_out:
            raise MachineTimeout("the deadline passed and the monitor did not answer")
        why = f": {result.stop_failure}" if result.stop_failure else ""
        raise MachineError(f"the monitor did not answer the request to stop{why}")
    if report.reason == "error":
        text = "; ".join(report.errors) or report.last_text() or "no message"
        raise MachineError(f"the monitor gave up: {text}")
