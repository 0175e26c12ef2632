"""What the monitor says of the guest's state, in the gdb server's terms and in words."""

from __future__ import annotations

from collections.abc import Mapping

from lvmm.gdb.target import BreakpointKind, Stop, StopReason
from lvmm.link import RunState, Status
from lvmm.link import StopReason as LinkReason
from lvmm.link.layout import LastHitReply, StatusFlag
from lvmm.logs.layout import EndReason

_REASONS = {
    LinkReason.NONE: StopReason.INTERRUPT,
    LinkReason.INTERRUPT: StopReason.INTERRUPT,
    LinkReason.STEP: StopReason.STEP,
    LinkReason.SOFTWARE_BREAKPOINT: StopReason.BREAKPOINT,
    LinkReason.HARDWARE_BREAKPOINT: StopReason.HARDWARE_BREAKPOINT,
    LinkReason.WATCHPOINT: StopReason.WATCHPOINT,
    LinkReason.LOG_END: StopReason.END_OF_LOG,
    LinkReason.POSITION: StopReason.SOUGHT,
    LinkReason.PASSED: StopReason.SOUGHT,
}

_TEXTS = {
    LinkReason.NONE: "the guest runs",
    LinkReason.INTERRUPT: "the debugger broke in",
    LinkReason.STEP: "a step was done",
    LinkReason.SOFTWARE_BREAKPOINT: "a breakpoint",
    LinkReason.HARDWARE_BREAKPOINT: "a hardware breakpoint",
    LinkReason.WATCHPOINT: "a watchpoint",
    LinkReason.RUN_END: "the run is over",
    LinkReason.TRIPLE_FAULT: "triple fault",
    LinkReason.UNHANDLED_EXIT: "a VM exit that the monitor cannot go on with",
    LinkReason.GUEST_PANIC: "the guest panicked",
    LinkReason.WATCHDOG: "the guest made no progress",
    LinkReason.DIVERGENCE: "the replay left its recording",
    LinkReason.MONITOR_ERROR: "the monitor failed",
    LinkReason.LOG_END: "the replay reached the end of its recording",
    LinkReason.POSITION: "the position that was sought",
    LinkReason.PASSED: "behind the position that was sought, which never was",
}


def reason_text(status: Status) -> str:
    """Why the guest stopped last, in words."""
    try:
        text = _TEXTS[LinkReason(status.reason)]
    except ValueError:
        text = f"stop reason {status.reason}"
    end = end_text(status)
    return f"{text} ({end})" if end else text


def end_text(status: Status) -> str:
    """How the run ended, as the log says; empty while it has not."""
    if not status.end_reason:
        return ""
    try:
        return EndReason(status.end_reason).name.lower().replace("_", " ")
    except ValueError:
        return f"end reason {status.end_reason}"


def state_text(status: Status) -> str:
    """Whether the guest runs."""
    try:
        return RunState(status.state).name.lower()
    except ValueError:
        return f"state {status.state}"


def altered(status: Status) -> bool:
    """Whether the guest was changed in a way that no log knows."""
    return bool(status.flags & StatusFlag.ALTERED)


def position_text(status: Status) -> str:
    """Where the guest is, of a few lines."""
    lines = [
        f"branches {status.branches}",
        f"RIP      {status.rip:#x}",
        f"events   {status.events}",
        f"log      {status.log_bytes} bytes",
        f"console  {status.console_end} bytes",
        f"stops    {status.stop_count}",
    ]
    if altered(status):
        lines.append("the debugger has altered the guest: this is no faithful replay any more")
    return "\n".join(lines)


def as_stop(status: Status, kinds: Mapping[int, BreakpointKind]) -> Stop:
    """The stop for a debugger; `kinds` are those of the breakpoints, by the monitor's numbers."""
    if status.reason == LinkReason.LOG_END:
        return Stop(StopReason.END_OF_LOG, text=reason_text(status))
    if status.state == RunState.HALTED:
        return Stop(StopReason.HALTED, text=reason_text(status))
    try:
        reason = _REASONS[LinkReason(status.reason)]
    except (KeyError, ValueError):
        return Stop(StopReason.HALTED, text=reason_text(status))
    return _stop(reason, status.address, kinds.get(status.breakpoint))


def hit_as_stop(hit: LastHitReply, kinds: Mapping[int, BreakpointKind]) -> Stop:
    """The stop for what going back has met."""
    try:
        reason = _REASONS[LinkReason(hit.reason)]
    except (KeyError, ValueError):
        reason = StopReason.INTERRUPT
    return _stop(reason, hit.address, kinds.get(hit.breakpoint))


def _stop(reason: StopReason, address: int, kind: BreakpointKind | None) -> Stop:
    if reason is StopReason.WATCHPOINT:
        return Stop(reason, address, kind or BreakpointKind.WRITE)
    if reason in (StopReason.BREAKPOINT, StopReason.HARDWARE_BREAKPOINT):
        return Stop(reason, address)
    return Stop(reason)
