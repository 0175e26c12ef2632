"""The monitor's end of the debug link over replay_model.py, with the checkpoints of link.toml."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.host.replay_model import RAM, RAM_SIZE, STACK, Boundary, Run

from lvmm.link import (
    BreakpointKind,
    Checkpoint,
    LinkClosed,
    LookBack,
    MemoryKind,
    MemoryRange,
    Mode,
    Position,
    RunState,
    Status,
    StopReason,
)
from lvmm.link.frame import Frame, FrameReceiver
from lvmm.link.layout import (
    DATA_MAX,
    LAYOUT_DIGEST,
    MAGIC,
    PROTOCOL_VERSION,
    REPLY_FLAG,
    Channel,
    CheckpointsReply,
    CheckpointsRequest,
    ClearBreakpointRequest,
    HelloReply,
    HelloRequest,
    LastHitReply,
    Opcode,
    PageChangesRequest,
    PositionFlag,
    PositionReply,
    ReadFpuReply,
    ReadMemoryRequest,
    Registers,
    RestoreRequest,
    Result,
    RunToRequest,
    Segment,
    SetBreakpointReply,
    SetBreakpointRequest,
)

PAGE = 4096
_EXECUTE = (BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE)
_READS = (BreakpointKind.WATCH_READ, BreakpointKind.WATCH_ACCESS)
_WRITES = (BreakpointKind.WATCH_WRITE, BreakpointKind.WATCH_ACCESS)
_REASONS = {
    BreakpointKind.SOFTWARE: StopReason.SOFTWARE_BREAKPOINT,
    BreakpointKind.HARDWARE: StopReason.HARDWARE_BREAKPOINT,
}

Breakpoint = SetBreakpointRequest


@dataclass
class Habits:
    """How a monitor may be. `spacing`: branches between its own checkpoints, of which it keeps
    `most`; `speed`: boundaries in one look at the line; `refuses`: it makes no checkpoint when
    asked; `has_checkpoints`: there are any at all; `tells_after`: it learns of an access
    when that has been made.
    """

    spacing: int = 10
    most: int = 8
    speed: int = 1 << 30
    refuses: bool = False
    has_checkpoints: bool = True
    tells_after: bool = True


def hit(boundary: Boundary, point: Breakpoint) -> int | None:
    """What a breakpoint or watchpoint sees between a boundary and the next: an address."""
    if point.kind in _EXECUTE:
        return point.address if boundary.at.rip == point.address else None
    access = boundary.access
    if access is None or point.kind not in (_WRITES if access.is_write else _READS):
        return None
    end = min(access.address + len(access.data), point.address + point.length)
    first = max(access.address, point.address)
    return first if first < end else None


@dataclass
class ReplayMonitor:
    """A ByteStream. It answers at once, and lets the guest run while it is read from."""

    run: Run
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        self.index = 0
        self.requests: list[Opcode] = []
        self.executed = 0  # boundaries that were passed
        self.breakpoints: dict[int, Breakpoint] = {}
        self._points: list[Checkpoint] = []
        self._numbers = iter(range(1, 1 << 30))
        self._goal: RunToRequest | None = None
        self._hit = LastHitReply(0, self.run.boundaries[0].at, 0, 0, 0, 0)
        self._break_in = self._step = self._leaving = False
        self._state, self._reason = RunState.STOPPED, StopReason.INTERRUPT
        self._stop_count = 1
        self._address = self._breakpoint = 0
        self._receiver = FrameReceiver()
        self._notified = 0
        self._lock = threading.Lock()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._make_checkpoint()

    # ---- ByteStream

    def write(self, data: bytes) -> None:
        """See ByteStream."""
        with self._lock:
            for part in self._receiver.feed(data):
                if isinstance(part, Frame):
                    self._answer(part)

    def read(self) -> bytes:
        """See ByteStream."""
        with self._lock:
            self._go_on()
            busy = self._state == RunState.RUNNING
        try:
            data = self._out.get(timeout=0.001 if busy else 0.02)
        except queue.Empty:
            return b""
        if data is None:
            self._out.put(None)
            raise LinkClosed("closed")
        return data

    def close(self) -> None:
        """See ByteStream."""
        self._out.put(None)

    def _answer(self, frame: Frame) -> None:
        opcode = Opcode(frame.payload[0])
        self.requests.append(opcode)
        try:
            payload = bytes((Result.OK,)) + _HANDLERS[opcode](self, frame.payload[1:])
        except _Refusal as refusal:
            payload = bytes((refusal.result,)) + refusal.text
        self._out.put(Frame(frame.channel | REPLY_FLAG, frame.sequence, payload).encode())

    # ---- the guest

    @property
    def here(self) -> Boundary:
        return self.run.boundaries[self.index]

    @property
    def checkpoints(self) -> list[Checkpoint]:
        return list(self._points)

    def _make_checkpoint(self) -> None:
        self._points.append(Checkpoint(next(self._numbers), 0, self.here.at))
        if len(self._points) > self.habits.most:
            del self._points[1:-1:2]

    def _go_on(self) -> None:
        for _ in range(self.habits.speed):
            if self._state != RunState.RUNNING or self._stopped_here():
                return
            self._pass()

    def _stopped_here(self) -> bool:
        here, goal = self.here, self._goal
        if goal is not None and _is_at(here.at, goal):
            self._stop(StopReason.POSITION)
        elif goal is not None and goal.flags and _is_behind(here.at, goal.at):
            self._stop(StopReason.PASSED)
        elif self._break_in:
            self._stop(StopReason.INTERRUPT)
        elif self.index == len(self.run) - 1:
            self._stop(StopReason.LOG_END)
        elif not self._leaving and not self._looks_back:
            for number, point in self.breakpoints.items():
                if point.kind in _EXECUTE and hit(here, point) is not None:
                    self._stop(_REASONS[BreakpointKind(point.kind)], point.address, number)
                    break
        return self._state != RunState.RUNNING

    @property
    def _looks_back(self) -> bool:
        return self._goal is not None and self._goal.look_back != LookBack.NONE

    def _pass(self) -> None:
        """To the next boundary."""
        before = self.here
        self._leaving = False
        if self._looks_back:
            self._take_note(before, self.run.boundaries[self.index + 1])
        self.index += 1
        self.executed += 1
        if self.here.at.branches - self._points[-1].at.branches >= self.habits.spacing:
            self._make_checkpoint()
        if self._step:
            self._stop(StopReason.STEP)
        if not self._looks_back:
            for number, point in self.breakpoints.items():
                address = hit(before, point)
                if point.kind not in _EXECUTE and address is not None:
                    self._stop(StopReason.WATCHPOINT, address, number)
                    return

    def _take_note(self, before: Boundary, behind: Boundary) -> None:
        assert self._goal is not None
        hits = self._hit.hits + 1
        if self._goal.look_back == LookBack.STEPS:
            if before.at.branches >= self._goal.steps_from:
                self._hit = LastHitReply(hits, before.at, StopReason.STEP, 0, 0, 0)
            return
        for number, point in self.breakpoints.items():
            address = hit(before, point)
            if address is None:
                continue
            reason = _REASONS.get(BreakpointKind(point.kind), StopReason.WATCHPOINT)
            after = reason == StopReason.WATCHPOINT and self.habits.tells_after
            at = behind.at if after else before.at
            self._hit = LastHitReply(hits, at, reason, number, after, address)
            if after:
                return

    def _stop(self, reason: StopReason, address: int | None = None, breakpoint_: int = 0) -> None:
        halted = reason == StopReason.LOG_END
        self._state = RunState.HALTED if halted else RunState.STOPPED
        self._reason = reason
        self._address = self.here.at.rip if address is None else address
        self._breakpoint = breakpoint_
        self._stop_count += 1
        self._break_in = self._step = False
        self._goal = None
        notify = Frame(Channel.NOTIFY, self._notified & 0xFF, self._status())
        self._notified += 1
        self._out.put(notify.encode())

    def _start(self) -> None:
        if self._state != RunState.STOPPED:
            raise _Refusal(Result.REFUSED, b"the run is over")
        self._state = RunState.RUNNING
        self._leaving = True

    def _status(self) -> bytes:
        at = self.here.at
        return Status(
            state=self._state,
            mode=Mode.REPLAY,
            flags=0,
            reason=self._reason,
            end_reason=0,
            stop_count=self._stop_count,
            breakpoint=self._breakpoint,
            address=self._address,
            branches=at.branches,
            events=at.events,
            rip=at.rip,
            console_end=0,
            log_bytes=0,
        ).pack()

    # ---- requests

    def hello(self, content: bytes) -> bytes:
        name = tuple(b"model".ljust(32, b"\0"))
        nonce = HelloRequest.unpack(content).nonce
        return HelloReply(
            MAGIC, PROTOCOL_VERSION, LAYOUT_DIGEST, nonce, self._state, Mode.REPLAY, name, name
        ).pack()

    def status(self, _content: bytes) -> bytes:
        return self._status()

    def interrupt(self, _content: bytes) -> bytes:
        self._break_in = self._state == RunState.RUNNING
        return self._status()

    def resume(self, _content: bytes) -> bytes:
        self._start()
        return self._status()

    def step(self, _content: bytes) -> bytes:
        self._start()
        self._step = True
        return self._status()

    def read_registers(self, _content: bytes) -> bytes:
        flat = Segment(0, 0xFFFFFFFF, 0xA09B, 8)
        fields: dict[str, object] = dict.fromkeys(Registers.__dataclass_fields__, 0)
        del fields["STRUCT"]
        gpr = (self.here.rax, 0, 0, 0, STACK, STACK, *[0] * 10)
        fields |= {"gpr": gpr, "rip": self.here.at.rip, "rflags": 2, "segments": (flat,) * 8}
        fields |= {"cr0": 0x11, "efer": 1 << 10, "dr": (0,) * 4}
        return Registers(**fields).pack()  # type: ignore[arg-type]

    def read_fpu(self, _content: bytes) -> bytes:
        return ReadFpuReply(0).pack() + bytes(512)

    def read_memory(self, content: bytes) -> bytes:
        request = ReadMemoryRequest.unpack(content)
        if not RAM <= request.address < RAM + RAM_SIZE:
            raise _Refusal(Result.FAULT, b"")
        at = request.address - RAM
        return self.run.memory(self.index)[at : at + request.length]

    def memory_map(self, _content: bytes) -> bytes:
        return MemoryRange(RAM, RAM + RAM_SIZE, MemoryKind.RAM).pack()

    def set_breakpoint(self, content: bytes) -> bytes:
        number = next(self._numbers)
        self.breakpoints[number] = SetBreakpointRequest.unpack(content)
        return SetBreakpointReply(number).pack()

    def clear_breakpoint(self, content: bytes) -> bytes:
        del self.breakpoints[ClearBreakpointRequest.unpack(content).id]
        return b""

    def position(self, _content: bytes) -> bytes:
        self._need_stopped()
        return PositionReply(self.here.at, 7 * self.index).pack()

    def list_checkpoints(self, content: bytes) -> bytes:
        if not self.habits.has_checkpoints:
            raise _Refusal(Result.UNSUPPORTED, b"")
        size = Checkpoint.STRUCT.size
        first = CheckpointsRequest.unpack(content).first
        part = self._points[first : first + min(3, DATA_MAX // size)]
        used = len(self._points) << 12
        reply = CheckpointsReply(len(self._points), used, self.habits.most << 12).pack()
        return reply + b"".join(point.pack() for point in part)

    def checkpoint(self, _content: bytes) -> bytes:
        self._need_stopped()
        if self.habits.refuses:
            raise _Refusal(Result.REFUSED, b"an interrupt is half delivered")
        if self._points[-1].at != self.here.at:
            self._make_checkpoint()
        return self._points[-1].pack()

    def restore(self, content: bytes) -> bytes:
        self._need_stopped()
        ids = [point.id for point in self._points]
        number = RestoreRequest.unpack(content).id
        if number not in ids:
            raise _Refusal(Result.FAULT, b"there is no such checkpoint")
        del self._points[ids.index(number) + 1 :]
        self.index = self.run.index(self._points[-1].at)
        self._stop(StopReason.INTERRUPT)
        return self._status()

    def run_to(self, content: bytes) -> bytes:
        goal = RunToRequest.unpack(content)
        self._start()
        self._goal = goal
        self._hit = LastHitReply(0, self.here.at, 0, 0, 0, 0)
        return self._status()

    def last_hit(self, _content: bytes) -> bytes:
        return self._hit.pack()

    def page_changes(self, content: bytes) -> bytes:
        page = PageChangesRequest.unpack(content).gpa
        starts = [self.run.index(point.at) for point in self._points]
        found = b""
        for point, start, end in zip(self._points, starts, [*starts[1:], self.index], strict=True):
            if any(_touches(b, page) for b in self.run.boundaries[start:end]):
                found += point.id.to_bytes(4, "little")
        return found

    def _need_stopped(self) -> None:
        if self._state == RunState.RUNNING:
            raise _Refusal(Result.BUSY, b"")


class _Refusal(Exception):
    def __init__(self, result: Result, text: bytes) -> None:
        super().__init__(result)
        self.result = result
        self.text = text


def _is_at(at: Position, goal: RunToRequest) -> bool:
    if not goal.flags:
        return at.events >= goal.at.events and at.branches >= goal.at.branches
    same = (at.events, at.branches) == (goal.at.events, goal.at.branches)
    rip = not goal.flags & PositionFlag.RIP or at.rip == goal.at.rip
    return same and rip and (not goal.flags & PositionFlag.CHECK or at.check == goal.at.check)


def _is_behind(at: Position, goal: Position) -> bool:
    return at.events > goal.events or at.branches > goal.branches


def _touches(boundary: Boundary, page: int) -> bool:
    access = boundary.access
    if access is None or not access.is_write:
        return False
    return access.address < page + PAGE and page < access.address + len(access.data)


_HANDLERS: dict[Opcode, Callable[[ReplayMonitor, bytes], bytes]] = {
    Opcode.HELLO: ReplayMonitor.hello,
    Opcode.STATUS: ReplayMonitor.status,
    Opcode.INTERRUPT: ReplayMonitor.interrupt,
    Opcode.RESUME: ReplayMonitor.resume,
    Opcode.STEP: ReplayMonitor.step,
    Opcode.READ_REGISTERS: ReplayMonitor.read_registers,
    Opcode.READ_FPU: ReplayMonitor.read_fpu,
    Opcode.READ_MEMORY: ReplayMonitor.read_memory,
    Opcode.MEMORY_MAP: ReplayMonitor.memory_map,
    Opcode.SET_BREAKPOINT: ReplayMonitor.set_breakpoint,
    Opcode.CLEAR_BREAKPOINT: ReplayMonitor.clear_breakpoint,
    Opcode.POSITION: ReplayMonitor.position,
    Opcode.CHECKPOINTS: ReplayMonitor.list_checkpoints,
    Opcode.CHECKPOINT: ReplayMonitor.checkpoint,
    Opcode.RESTORE: ReplayMonitor.restore,
    Opcode.RUN_TO: ReplayMonitor.run_to,
    Opcode.LAST_HIT: ReplayMonitor.last_hit,
    Opcode.PAGE_CHANGES: ReplayMonitor.page_changes,
}
