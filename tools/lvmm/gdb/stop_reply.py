"""Stop replies: the packets that say why the guest is stopped (gdb manual, E.3)."""

from __future__ import annotations

from lvmm.gdb.machine import Machine
from lvmm.gdb.registers import Description, Register
from lvmm.gdb.target import BreakpointKind, Stop, StopReason

# Signal numbers of the protocol.
_SIGINT, _SIGTRAP, _SIGABRT = 2, 5, 6

_WATCH = {
    BreakpointKind.WRITE: "watch",
    BreakpointKind.READ: "rwatch",
    BreakpointKind.ACCESS: "awatch",
}
_BREAKPOINT = {
    StopReason.BREAKPOINT: "swbreak",
    StopReason.HARDWARE_BREAKPOINT: "hwbreak",
}


def stop_reply(
    stop: Stop,
    machine: Machine,
    description: Description,
    features: frozenset[str],
    *,
    first: bool,
) -> bytes:
    """The reply for a client that has this description of the registers, and these `features`.

    `first`: to the question why it is stopped, where only the signal matters: what stopped it was
    the question, or somebody else's breakpoint.
    """
    fields = ["thread:1;"]
    fields += (
        f"{register.number:02x}:{hexed(machine, register)};" for register in description.expedited
    )
    if not first:
        fields.append(_reason(stop, features))
    return f"T{_signal(stop, first):02x}{''.join(fields)}".encode()


def hexed(machine: Machine, register: Register) -> str:
    """A register's value as in all packets: its bytes in memory order; `x` where it has none."""
    value = machine.read(register)
    if value is None:
        return "xx" * register.size
    mask = (1 << register.bits) - 1
    return (value & mask).to_bytes(register.size, "little").hex()


def describe(stop: Stop) -> str:
    """The stop in words."""
    where = f" at {stop.address:#x}" if stop.address is not None else ""
    return f"{stop.reason.value}{where}" + (f": {stop.text}" if stop.text else "")


def _signal(stop: Stop, first: bool) -> int:
    if stop.reason is StopReason.HALTED:
        return _SIGABRT
    return _SIGINT if stop.reason is StopReason.INTERRUPT and not first else _SIGTRAP


def _reason(stop: Stop, features: frozenset[str]) -> str:
    if stop.reason is StopReason.WATCHPOINT and stop.address is not None:
        return f"{_WATCH.get(stop.kind or BreakpointKind.WRITE, 'watch')}:{stop.address:x};"
    if stop.reason is StopReason.END_OF_LOG:
        return "replaylog:end;"
    if stop.reason is StopReason.START_OF_LOG:
        return "replaylog:begin;"
    name = _BREAKPOINT.get(stop.reason)
    return f"{name}:;" if name in features else ""
