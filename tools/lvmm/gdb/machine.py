"""The target as one client uses it: what it set, what is known while the guest is stopped."""

from __future__ import annotations

from collections.abc import Callable

from lvmm.gdb import xsave
from lvmm.gdb.memory_map import linear_map
from lvmm.gdb.registers import X86_64, Description, Register, program_counter
from lvmm.gdb.target import (
    BreakpointKind,
    MemoryRange,
    Registers,
    Stop,
    StopReason,
    Target,
    TargetError,
)

# How long a guest may take to stop when it is asked to.
STOP_TIMEOUT_S = 10.0

# How long one look lasts at whether a place was reached.
_SEEK_TURN_S = 0.2

# From these the guest does not go on.
_FINAL = (StopReason.HALTED, StopReason.END_OF_LOG)

_EXECUTE = (BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE)

Breakpoint = tuple[BreakpointKind, int, int]


class Machine:
    """Keeps registers between the accesses of one stop, and the list of breakpoints set here."""

    def __init__(self, target: Target, early: Description) -> None:
        self.target = target
        self.architecture: Description | None = None  # the user's choice
        self._early = early
        self._within: range | None = None
        self._interrupted = False
        self.stop: Stop | None = None  # None: it runs, or nobody has asked yet
        self.running = False  # this client let it run
        self.physical = False  # memory accesses are to physical addresses
        self._breakpoints: set[Breakpoint] = set()
        self._values: Registers | None = None
        self._fpu: bytes | None = None
        self._map: list[MemoryRange] | None = None

    def attach(self) -> Stop:
        """Stop the guest, unless it is; why it is stopped. Raises TargetError."""
        if self.stop is None:
            self.target.interrupt()
            self.stop = self.target.poll_stop(STOP_TIMEOUT_S)
            self.running = False
            self.forget()
            if self.stop is None:
                raise TargetError(f"the guest did not stop within {STOP_TIMEOUT_S:.0f} s")
        return self.stop

    def forget(self) -> None:
        """The guest's state may have changed: ask for it again."""
        self._values = self._fpu = self._map = None

    def description(self) -> Description:
        """The registers that a client is to be told of.

        A guest that is not in long mode may be on its way there, and gdb cannot change: so there
        it depends on what the guest is.
        """
        if self.architecture is not None:
            return self.architecture
        self.attach()
        return X86_64 if self.registers()["efer"] >> 10 & 1 else self._early

    def registers(self) -> Registers:
        """All but the FPU's."""
        if self._values is None:
            self._values = self.target.registers()
        return self._values

    def read(self, register: Register) -> int | None:
        """A register's value; None where this machine does not have it."""
        if register.in_fpu:
            if self._fpu is None:
                self._fpu = self.target.fpu()
            return xsave.read(self._fpu, register.source)
        if register.source == "rip":
            return program_counter(self.registers())
        return self.registers()[register.source]

    def linear_map(self) -> list[MemoryRange]:
        """RAM and ROM at linear addresses."""
        self.attach()
        if self._map is None:
            self._map = linear_map(self.target, self.registers())
        return self._map

    def write(self, register: Register, value: int) -> None:
        """Change a register."""
        if register.in_fpu:
            image = xsave.write(self.target.fpu(), register.source, value)
            if image is None:
                raise TargetError(f"this machine has no {register.name}")
            self.target.write_fpu(image)
        else:
            self.target.write_register(register.source, value)
        self.forget()

    def set_breakpoint(self, breakpoint_: Breakpoint) -> None:
        """Set one. One that is set may be set again."""
        if breakpoint_ not in self._breakpoints:
            self.target.set_breakpoint(*breakpoint_)
            self._breakpoints.add(breakpoint_)

    def clear_breakpoint(self, breakpoint_: Breakpoint) -> None:
        """Clear one. One that is not set may be cleared."""
        if breakpoint_ in self._breakpoints:
            self.target.clear_breakpoint(*breakpoint_)
            self._breakpoints.remove(breakpoint_)

    def run(self, *, step: bool, within: range | None = None) -> None:
        """Let the guest run; wait() tells when it stops. One that has ended stops at once.

        `within`: step until RIP is outside of it.
        """
        self._within = within
        final = self.stop is not None and self.stop.reason in _FINAL
        self._start(None if final else self.target.step if step else self.target.resume)

    def reverse(self, *, step: bool) -> None:
        """Let the guest go back; wait() tells when it stops."""
        self._within = None
        self._start(lambda: self.target.reverse(step=step))

    def seek(self, place: str) -> Stop:
        """Bring the guest to a place; why it is stopped then."""
        self.attach()
        self._go(lambda: self.target.seek(place))
        while (stop := self.target.poll_stop(_SEEK_TURN_S)) is None:
            pass
        self.stop = stop
        return stop

    def _start(self, go: Callable[[], None] | None) -> None:
        """Let it go, unless it cannot."""
        self.running = True
        if self._interrupted:  # it came too late for the step before: gdb goes on without noticing
            self.stop = Stop(StopReason.INTERRUPT)
        elif go is not None:
            self._go(go)

    def _go(self, go: Callable[[], None]) -> None:
        try:
            go()
        except TargetError:
            self.running = False
            raise
        self.stop = None
        self.forget()

    def wait(self, timeout_s: float) -> Stop | None:
        """Why the guest that was let run has stopped; None while it has not."""
        if self.stop is None:
            self.stop = self.target.poll_stop(timeout_s)
        if self.stop is None:
            return None
        if self.stop.reason is StopReason.STEP:
            if self._interrupted:
                self.stop = Stop(StopReason.INTERRUPT)
            elif self._steps_on(program_counter(self.registers())):
                self._go(self.target.step)
                return None
        self._interrupted = False
        self.running = False
        return self.stop

    def _steps_on(self, rip: int) -> bool:
        """Whether a step to here is not the last: a breakpoint here would be stepped over."""
        here = ((kind, rip, 1) for kind in _EXECUTE)
        return (
            self._within is not None and rip in self._within and self._breakpoints.isdisjoint(here)
        )

    def interrupt(self) -> None:
        """Ask the guest to stop. While gdb steps, the request may come between two steps."""
        if self.running:
            self._interrupted = True
            self.target.interrupt()
        elif self.stop and self.stop.reason is StopReason.STEP:
            self._interrupted = True

    def reset(self) -> None:
        """Start the guest from its beginning, stopped."""
        self.target.reset()
        self.stop = None
        self.attach()
        self.forget()

    def detach(self) -> None:
        """Clear all breakpoints and let the guest run."""
        self.attach()
        self.physical = False
        try:
            self.clear_all()
        finally:
            self._interrupted = False
            self.run(step=False)
            self.running = False
            self.stop = None

    def abandon(self) -> None:
        """The client is gone: clear what breakpoints it has left; a stopped guest stays so."""
        self.physical = False
        try:
            if self.running and self._breakpoints:
                self.detach()
            else:
                self.clear_all()
        finally:
            self.running = self._interrupted = False
            self.stop = None

    def clear_all(self) -> None:
        """Clear all breakpoints, as far as that is possible. Raises the last TargetError."""
        problem = None
        for breakpoint_ in list(self._breakpoints):
            try:
                self.clear_breakpoint(breakpoint_)
            except TargetError as error:
                problem = error
        if problem:
            raise problem
