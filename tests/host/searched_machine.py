"""A replay for lvmm.queries.search: a script of boundaries, and a debug link that stops there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lvmm.link import (
    BreakpointKind,
    LinkTimeout,
    MemoryFault,
    NoSpace,
    RunState,
    Status,
    StopReason,
)
from lvmm.link.layout import Opcode, Position, PositionFlag, Registers, Result, Segment

RAM_SIZE = 0x10000
CODE_64 = 1 << 13
_EFER_LMA = 1 << 10
_EXECUTE = (BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE)


@dataclass(frozen=True)
class Step:
    """A boundary: what was written since the one before, where the guest is then, and whether its
    memory is mapped.
    """

    rip: int
    events: int = 0
    branches: int = 0
    gpr: dict[int, int] = field(default_factory=dict)
    writes: Sequence[tuple[int, bytes]] = ()
    mapped: bool = True


class SearchedMachine:
    """Implements lvmm.queries.search.Link, and its memory lvmm.guest_view.Physical."""

    def __init__(self, steps: Sequence[Step], *, room: int = 256) -> None:
        self.ram = bytearray(RAM_SIZE)
        self.set: dict[int, tuple[BreakpointKind, int, int]] = {}
        self.stops = 0
        self.timeouts = 0  # so often the guest runs on for long
        self._steps = steps
        self._at = 0
        self._room = room
        self._last = 0
        self._stop = (StopReason.INTERRUPT, 0, 0)
        self._state = RunState.STOPPED
        self._stops = 1
        self._goal: tuple[int, int, int] | None = None

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.ram[offset : offset + size])

    def status(self) -> Status:
        step = self._steps[self._at]
        reason, number, address = self._stop
        fields = dict.fromkeys(Status.__dataclass_fields__, 0)
        del fields["STRUCT"]
        fields |= {"state": self._state, "reason": reason, "stop_count": self._stops}
        fields |= {"breakpoint": number, "address": address}
        return Status(
            **{**fields, "events": step.events, "branches": step.branches, "rip": step.rip}
        )

    @property
    def replay(self) -> SearchedMachine:
        return self

    def run_to(self, at: Position, flags: int = PositionFlag.RIP) -> Status:
        assert flags == PositionFlag.RIP
        self._goal = (at.events, at.branches, at.rip)
        return self._resumed()

    def resume(self) -> Status:
        self._goal = None
        return self._resumed()

    def _resumed(self) -> Status:
        assert self._state == RunState.STOPPED
        self._state = RunState.RUNNING
        return self.status()

    def wait_for_stop(self, since: Status, seconds: float | None = None) -> Status:
        if since.state != RunState.RUNNING:
            return since
        if self.timeouts:
            self.timeouts -= 1
            raise LinkTimeout("it runs")
        self._stops += 1
        while self._at + 1 < len(self._steps):
            self._at += 1
            stop = self._hit(self._steps[self._at])
            if stop is not None:
                self.stops += 1
                self._state, self._stop = RunState.STOPPED, stop
                return self.status()
        self._state, self._stop = RunState.HALTED, (StopReason.LOG_END, 0, 0)
        return self.status()

    def read_registers(self) -> Registers:
        step = self._steps[self._at]
        gpr = tuple(step.gpr.get(number, 0) for number in range(16))
        segments = tuple(Segment(0, 0xFFFFFFFF, CODE_64, 0) for _ in range(8))
        names = [name for name in Registers.__dataclass_fields__ if name != "STRUCT"]
        values: dict[str, object] = dict.fromkeys(names, 0)
        values |= {"gpr": gpr, "segments": segments, "dr": (0,) * 4}
        values |= {"rip": step.rip, "efer": _EFER_LMA}
        return Registers(**values)  # type: ignore[arg-type]

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int = 1) -> int:
        if len(self.set) == self._room:
            raise NoSpace(Opcode.SET_BREAKPOINT, Result.NO_SPACE, "")
        if not self._steps[self._at].mapped and kind is not BreakpointKind.HARDWARE:
            raise MemoryFault(Opcode.SET_BREAKPOINT, address, 0)
        self._last += 1
        self.set[self._last] = (kind, address, length)
        return self._last

    def clear_breakpoint(self, number: int) -> None:
        del self.set[number]

    def _hit(self, step: Step) -> tuple[StopReason, int, int] | None:
        """Only one of several: a watchpoint goes first."""
        if self._goal is not None and step.events > self._goal[0]:
            return StopReason.PASSED, 0, step.rip
        if self._goal == (step.events, step.branches, step.rip):
            return StopReason.POSITION, 0, step.rip
        found = None
        for address, data in step.writes:
            for number, (kind, start, length) in self.set.items():
                if kind in _EXECUTE or not (
                    start < address + len(data) and address < start + length
                ):
                    continue
                first, last = max(address, start), min(address + len(data), start + length)
                same = self.ram[first:last] == data[first - address : last - address]
                if kind is BreakpointKind.WATCH_STORE or not same:
                    found = found or (StopReason.WATCHPOINT, number, first)
            self.ram[address : address + len(data)] = data
        if found is None:
            for number, (kind, start, _) in self.set.items():
                if kind in _EXECUTE and start == step.rip:
                    return StopReason.SOFTWARE_BREAKPOINT, number, start
        return found
