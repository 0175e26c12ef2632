"""The monitor's primitives as methods: what a debugger, a console and log extraction stand on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from lvmm.link.connection import Listeners, Statistics, Timing
from lvmm.link.errors import LinkError, LinkTimeout, MemoryFault
from lvmm.link.layout import (
    DATA_MAX,
    BreakpointKind,
    ClearBreakpointRequest,
    LogInfoReply,
    MemoryRange,
    MemorySpace,
    Opcode,
    QueryKind,
    QueryReply,
    QueryRequest,
    ReadConsoleReply,
    ReadConsoleRequest,
    ReadFpuReply,
    ReadLogRequest,
    ReadMemoryRequest,
    Register,
    Registers,
    Result,
    RunState,
    SetBreakpointReply,
    SetBreakpointRequest,
    Status,
    TakeFlag,
    TakeLogReply,
    TakeLogRequest,
    WriteConsoleReply,
    WriteFlag,
    WriteFpuRequest,
    WriteMemoryReply,
    WriteMemoryRequest,
    WriteRegisterRequest,
)
from lvmm.link.replay_requests import ReplayRequests
from lvmm.link.session import Hello, LinkSession
from lvmm.link.stream import ByteStream

_POLL_SECONDS = 1.0  # how often the status is asked for in case a NOTIFY was lost
_MASK64 = (1 << 64) - 1
_MASK32 = (1 << 32) - 1
_OK = bytes((Result.OK,))
_TELL_STATUS = (
    *(Opcode.STATUS, Opcode.INTERRUPT, Opcode.RESUME, Opcode.STEP),
    *(Opcode.RESTORE, Opcode.RUN_TO),
)


def _ignore(_value: object) -> None:
    pass


def _nothing() -> None:
    pass


class LinkClient:
    """The tools' end of a debug link. All methods may be called from any thread, but not from a
    listener.

    `open_line` opens the line, the first time and again after it was closed: for example
    `lambda: open_stream("localhost:4444")`. `on_line` gets every line of text that the monitor
    says (messages of lvmm.monitor_line among them); `on_status` gets every status that it tells
    unasked. Both are called by the thread that reads the line. `on_restore` is called, by the
    thread that asked for it, when a replay went back: a run that was over is not over then.

    `replay` goes back and forth in a replay. All methods raise the exceptions of lvmm.link.errors,
    and what `open_line` raises.
    """

    def __init__(
        self,
        open_line: Callable[[], ByteStream],
        on_line: Callable[[str], None] = _ignore,
        on_status: Callable[[Status], None] = _ignore,
        timing: Timing | None = None,
        on_restore: Callable[[], None] = _nothing,
    ) -> None:
        self._on_status = on_status
        self._on_restore = on_restore
        self._told = threading.Condition()
        self._last_told: Status | None = None
        self._asked = 0.0  # when the last reply with a status came
        listeners = Listeners(on_line, self._take_status)
        self._session = LinkSession(open_line, listeners, timing or Timing())
        self.replay = ReplayRequests(self._session, self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def statistics(self) -> Statistics:
        """What happened on the line so far."""
        return self._session.statistics

    @property
    def failure(self) -> LinkError | None:
        """Why nothing comes from the line any more; None: it is open, or was not opened yet."""
        return self._session.failure

    @property
    def in_session(self) -> bool:
        """Whether the monitor was asked for something yet, and answered."""
        return self._session.hello is not None

    def listen(self) -> None:
        """Opens the line and takes what the monitor says, without a session."""
        self._session.listen()

    def connect(self) -> Hello:
        """Starts a session, if there is none. Every request does so as well."""
        return self._session.connect()

    def close(self) -> None:
        """Gives the line up; the guest goes on as it is. Another request opens it again."""
        self._session.close()

    def relay(self, opcode: Opcode, content: bytes) -> bytes:
        """Makes another tool's request, fields and data together; returns the reply's payload.

        What the monitor refuses is no error here.
        """
        payload = self._session.transact(opcode, content)
        if opcode in _TELL_STATUS and payload[:1] == _OK:
            self._session.attentive = Status.unpack(payload, 1).state != RunState.RUNNING
            self._tell_restore(opcode)
        return payload

    # ---- run control

    def status(self) -> Status:
        """What the guest does now."""
        return self._status(Opcode.STATUS)

    def interrupt(self) -> Status:
        """Breaks in. Returns the status then, for wait_for_stop()."""
        return self._status(Opcode.INTERRUPT)

    def resume(self) -> Status:
        """Lets the guest run. Returns the status then, for wait_for_stop()."""
        return self._status(Opcode.RESUME)

    def step(self) -> Status:
        """Lets the guest execute one instruction. Returns the status then, for wait_for_stop()."""
        return self._status(Opcode.STEP)

    def wait_for_stop(self, since: Status, seconds: float | None = None) -> Status:
        """Waits until the guest, which ran at `since`, has stopped; None: forever.

        Returns `since` when that is a stop itself. Raises LinkTimeout when the time is over; the
        guest goes on running.
        """
        if since.state != RunState.RUNNING:
            return since
        end = math.inf if seconds is None else time.monotonic() + seconds

        def new_stop(status: Status | None) -> Status | None:
            if status is None or status.state == RunState.RUNNING:
                return None
            return status if _is_later(status, since) else None

        while True:
            with self._told:
                ask = self._asked + _POLL_SECONDS
                wait = max(min(ask, end) - time.monotonic(), 0)
                stop = self._told.wait_for(lambda: new_stop(self._last_told), wait)
            if stop is None and ask <= end:
                stop = new_stop(self.status())
            if stop is not None:
                return stop
            if ask > end:
                raise LinkTimeout(f"the guest did not stop within {seconds:g} seconds")

    def stop_run(self) -> None:
        """Ends the run and seals the log."""
        self._session.request(Opcode.STOP_RUN, b"", b"")

    def start_recording(self) -> None:
        """Begins a recording on demand where the guest is stopped."""
        self._session.request(Opcode.START_RECORDING, b"", b"")

    def stop_recording(self) -> None:
        """Ends the recording where the guest is stopped, which runs on then."""
        self._session.request(Opcode.STOP_RECORDING, b"", b"")

    def reset(self) -> None:
        """Resets the machine."""
        self._session.request(Opcode.RESET, b"", b"")

    # ---- registers

    def read_registers(self) -> Registers:
        """All registers but x87, SSE and AVX."""
        return Registers.unpack(self._session.request(Opcode.READ_REGISTERS, b"", b"")[0])

    def write_register(self, register: Register, value: int, force: bool = False) -> None:
        """Sets a register; `force` also where that alters a replay."""
        fields = WriteRegisterRequest(register, _flags(force), value & _MASK64).pack()
        self._session.request(Opcode.WRITE_REGISTER, fields, b"")

    def read_fpu(self) -> tuple[int, bytes]:
        """XCR0 and the image of x87, SSE, AVX and so on in XSAVE's standard form; where XCR0 is 0,
        the image is that of FXSAVE (SDM vol. 1, 10.5.1 and 13.4).
        """
        fields, image, _ = self._session.request(Opcode.READ_FPU, b"", b"")
        return ReadFpuReply.unpack(fields).xcr0, image

    def write_fpu(self, image: bytes, force: bool = False) -> None:
        """Sets what read_fpu() reads."""
        self._session.request(Opcode.WRITE_FPU, WriteFpuRequest(_flags(force)).pack(), image)

    # ---- breakpoints

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int = 1) -> int:
        """Sets a breakpoint or, for `length` bytes, a watchpoint; returns its number."""
        fields = SetBreakpointRequest(kind, length, address & _MASK64).pack()
        return SetBreakpointReply.unpack(
            self._session.request(Opcode.SET_BREAKPOINT, fields, b"")[0]
        ).id

    def clear_breakpoint(self, number: int) -> None:
        """Removes a breakpoint or watchpoint."""
        fields = ClearBreakpointRequest(number).pack()
        self._session.request(Opcode.CLEAR_BREAKPOINT, fields, b"")

    def clear_all_breakpoints(self) -> None:
        """Removes them all."""
        self._session.request(Opcode.CLEAR_ALL, b"", b"")

    # ---- memory

    def read_memory(
        self, address: int, length: int, space: MemorySpace = MemorySpace.VIRTUAL
    ) -> bytes:
        """Reads `length` bytes of guest memory.

        Raises MemoryFault, which has the bytes before the first one that is not accessible.
        """
        read = bytearray()
        while len(read) < length:
            part = min(length - len(read), DATA_MAX)
            fields = ReadMemoryRequest(space, (address + len(read)) & _MASK64, part).pack()
            _, data, result = self._session.request(Opcode.READ_MEMORY, fields, b"")
            read += data
            if result is Result.FAULT or len(data) != part:
                raise MemoryFault(Opcode.READ_MEMORY, address, len(read), bytes(read))
        return bytes(read)

    def write_memory(
        self,
        address: int,
        data: bytes,
        space: MemorySpace = MemorySpace.VIRTUAL,
        force: bool = False,
    ) -> None:
        """Writes guest memory; `force` also where that alters a replay. Raises MemoryFault."""
        done = 0
        while done < len(data):
            part = data[done : done + DATA_MAX]
            fields = WriteMemoryRequest(space, _flags(force), (address + done) & _MASK64).pack()
            reply, _, result = self._session.request(Opcode.WRITE_MEMORY, fields, part)
            written = WriteMemoryReply.unpack(reply).done
            done += written
            if result is Result.FAULT or written != len(part):
                raise MemoryFault(Opcode.WRITE_MEMORY, address, done)

    def memory_map(self) -> list[MemoryRange]:
        """What is where in guest-physical memory, ascending; what is in no range is not there."""
        data = self._session.request(Opcode.MEMORY_MAP, b"", b"")[1]
        size = MemoryRange.STRUCT.size
        return [MemoryRange.unpack(data, at) for at in range(0, len(data) - size + 1, size)]

    # ---- console, log, text

    def read_console(self, offset: int, length: int = DATA_MAX) -> tuple[int, bytes, int]:
        """Reads what the guest wrote to its console from byte `offset` on.

        Returns the offset of the first byte (later than `offset` when that is overwritten by now),
        at most min(length, DATA_MAX) bytes, and how many the guest ever wrote.
        """
        fields = ReadConsoleRequest(offset, min(length, DATA_MAX)).pack()
        reply, data, _ = self._session.request(Opcode.READ_CONSOLE, fields, b"")
        place = ReadConsoleReply.unpack(reply)
        return place.offset, data, place.end

    def write_console(self, data: bytes) -> int:
        """Types to the guest's console; returns how many bytes were taken."""
        reply = self._session.request(Opcode.WRITE_CONSOLE, b"", data[:DATA_MAX])[0]
        return WriteConsoleReply.unpack(reply).done

    def log_info(self) -> LogInfoReply:
        """How large the log is."""
        return LogInfoReply.unpack(self._session.request(Opcode.LOG_INFO, b"", b"")[0])

    def read_log(self, offset: int, length: int) -> bytes:
        """Reads the log region; fewer bytes than `length` at its end."""
        read = bytearray()
        while len(read) < length:
            part = min(length - len(read), DATA_MAX)
            fields = ReadLogRequest(offset + len(read), part).pack()
            data = self._session.request(Opcode.READ_LOG, fields, b"")[1]
            read += data
            if len(data) != part:
                break
        return bytes(read)

    def take_log(self, stored: int, close: bool = False) -> TakeLogReply:
        """Says that the first `stored` bytes of the log are stored, so that the monitor may forget
        them, and asks what there is. `close` makes the chunk that is being written a part of it.
        """
        fields = TakeLogRequest(stored, TakeFlag.CLOSE if close else 0).pack()
        return TakeLogReply.unpack(self._session.request(Opcode.TAKE_LOG, fields, b"")[0])

    def query(self, kind: QueryKind, argument: int = 0) -> str:
        """Text for people: statistics, EPT entries, a page walk."""
        text = bytearray()
        with self._session.exclusive:  # the monitor keeps one text
            while True:
                fields = QueryRequest(kind, argument & _MASK64, len(text)).pack()
                reply, part, _ = self._session.request(Opcode.QUERY, fields, b"")
                text += part
                if not part or len(text) >= QueryReply.unpack(reply).total:
                    return text.decode("utf-8", "replace")

    def _status(self, opcode: Opcode, fields: bytes = b"") -> Status:
        before = self._last_told
        status = Status.unpack(self._session.request(opcode, fields, b"")[0])
        self._tell_restore(opcode)
        self._asked = time.monotonic()
        with self._told:
            told = self._last_told
            # A stop that was told since is later than the reply: that one is for RUNNING.
            stopped = told is not None and told is not before and told.state != RunState.RUNNING
            self._session.attentive = stopped or status.state != RunState.RUNNING
        return status

    def _tell_restore(self, opcode: Opcode) -> None:
        if opcode == Opcode.RESTORE:
            self._on_restore()

    def _take_status(self, status: Status) -> None:
        with self._told:
            self._session.attentive = status.state != RunState.RUNNING
            self._last_told = status
            self._told.notify_all()
        self._on_status(status)


def _is_later(status: Status, since: Status) -> bool:
    """Whether a stop came after `since`: one that was told before may be the last one heard of."""
    return 0 < (status.stop_count - since.stop_count) & _MASK32 <= _MASK32 >> 1


def _flags(force: bool) -> int:
    return WriteFlag.FORCE if force else 0
