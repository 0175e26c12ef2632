"""A guest for the gdb server's tests: memory, registers, and a program of one-byte instructions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lvmm.gdb.registers import X86_64, Description
from lvmm.gdb.server import GdbServer
from lvmm.gdb.target import (
    REGISTER_NAMES,
    BreakpointKind,
    MemoryFault,
    MemoryKind,
    MemoryRange,
    Mode,
    ReadOnly,
    Registers,
    Stop,
    StopReason,
    Target,
    TargetError,
)

RAM, RAM_SIZE = 0x100000, 0x20000
ROM, ROM_SIZE = 0xF0000, 0x10000
MMIO, MMIO_SIZE = 0xFEE00000, 0x1000
CODE = RAM + 0x1000
END = CODE + 0x200  # the instruction here jumps to itself
STACK = RAM + 0x8000
NOP, JUMP_TO_ITSELF = b"\x90", b"\xeb\xfe"

LMA, LONG_CODE, CODE_32 = 1 << 10, 1 << 13, 1 << 14
_EXECUTE = (BreakpointKind.SOFTWARE, BreakpointKind.HARDWARE)
_STOPS_AT_WRITE = (BreakpointKind.WRITE, BreakpointKind.ACCESS)


def start_registers() -> dict[str, int]:
    """Each register has a value of its own; 64-bit code, no paging."""
    values = {name: 0x1111_0000 + index for index, name in enumerate(REGISTER_NAMES)}
    values |= {"rip": CODE, "rsp": STACK, "rbp": STACK, "rflags": 2, "efer": LMA}
    return values | {"cs_access": LONG_CODE, "cr0": 0x11, "cr3": 0, "cr4": 0x20}


def fpu_image() -> bytes:
    """An XSAVE image with x87, SSE and AVX in use, every byte of the registers different."""
    image = bytearray(832)
    image[0:2] = (0x37F).to_bytes(2, "little")
    image[24:28] = (0x1F80).to_bytes(4, "little")
    for i in range(16):
        image[160 + 16 * i : 176 + 16 * i] = bytes(range(16 * i, 16 * i + 16))
        image[576 + 16 * i : 592 + 16 * i] = bytes(range(255 - 16 * i, 239 - 16 * i, -1))
    image[512] = 7
    return bytes(image)


@dataclass
class FakeTarget:
    """Memory is linear = physical. The program is NOPs, with what `at` says of some of them."""

    mode: Mode = "live"
    values: dict[str, int] = field(default_factory=start_registers)
    xsave: bytes = field(default_factory=fpu_image)
    memory: bytearray = field(default_factory=lambda: bytearray(NOP * RAM_SIZE))
    writes_at: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # RIP: address, data
    stops_at: dict[int, Stop] = field(default_factory=dict)  # RIP: the stop when it gets there
    breakpoints: set[tuple[BreakpointKind, int, int]] = field(default_factory=set)
    failure: TargetError | None = None  # the link is down
    interrupt_failure: TargetError | None = None
    stop: Stop | None = None
    forced: bool = False
    calls: list[str] = field(default_factory=list)
    touched_mmio: bool = False

    def __post_init__(self) -> None:
        self.memory[END - RAM : END - RAM + 2] = JUMP_TO_ITSELF
        self.memory[STACK - RAM :] = bytes(RAM + RAM_SIZE - STACK)  # no frames: gdb stops there

    def registers(self) -> Registers:
        self._stopped("registers")
        return dict(self.values)

    def write_register(self, name: str, value: int) -> None:
        self._stopped(f"write {name}")
        self._writable()
        assert name in REGISTER_NAMES and 0 <= value < 1 << 64
        self.values[name] = value

    def fpu(self) -> bytes:
        self._stopped("fpu")
        return self.xsave

    def write_fpu(self, image: bytes) -> None:
        self._stopped("write fpu")
        self._writable()
        assert len(image) == len(self.xsave)
        self.xsave = image

    def read_memory(self, address: int, length: int, *, physical: bool = False) -> bytes:
        self._stopped(f"read {'physical ' if physical else ''}{address:#x}")
        assert length > 0 and address + length <= 1 << 64
        if MMIO <= address < MMIO + MMIO_SIZE:
            self.touched_mmio = True
        if not RAM <= address < RAM + RAM_SIZE:
            raise MemoryFault(address)
        data = bytes(self.memory[address - RAM : address - RAM + length])
        if len(data) < length:
            raise MemoryFault(RAM + RAM_SIZE, data)
        return data

    def write_memory(self, address: int, data: bytes, *, physical: bool = False) -> None:
        self._stopped(f"write {'physical ' if physical else ''}{address:#x}")
        self._writable()
        if address < RAM or address + len(data) > RAM + RAM_SIZE:
            raise MemoryFault(address)
        self.memory[address - RAM : address - RAM + len(data)] = data

    def set_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        self._stopped(f"set {kind.name} {address:#x} {length}")
        assert (kind, address, length) not in self.breakpoints
        if kind in _EXECUTE and not RAM <= address < RAM + RAM_SIZE:
            raise MemoryFault(address)
        self.breakpoints.add((kind, address, length))

    def clear_breakpoint(self, kind: BreakpointKind, address: int, length: int) -> None:
        self._stopped(f"clear {kind.name} {address:#x} {length}")
        self.breakpoints.remove((kind, address, length))

    def resume(self) -> None:
        self._stopped("resume")
        self.stop = None
        self._execute()
        self._run()

    def step(self) -> None:
        self._stopped("step")
        self.stop = None
        self._execute()
        self.stop = self.stop or Stop(StopReason.STEP)

    @property
    def can_reverse(self) -> bool:
        return False

    def reverse(self, *, step: bool) -> None:
        raise TargetError("this guest goes forward only")

    def seek(self, place: str) -> None:
        raise TargetError("this guest goes forward only")

    def progress(self) -> str:
        return ""

    def interrupt(self) -> None:
        self._check()
        if self.interrupt_failure:
            raise self.interrupt_failure
        if self.stop is None:
            self.stop = Stop(StopReason.INTERRUPT)

    def poll_stop(self, timeout_s: float) -> Stop | None:
        self._check()
        if self.stop is None:
            time.sleep(min(timeout_s, 0.005))
        return self.stop

    def memory_map(self) -> Sequence[MemoryRange]:
        return [
            MemoryRange(ROM, ROM + ROM_SIZE, MemoryKind.ROM),
            MemoryRange(RAM, RAM + RAM_SIZE, MemoryKind.RAM),
            MemoryRange(MMIO, MMIO + MMIO_SIZE, MemoryKind.MMIO),
        ]

    def query(self, name: str, argument: str) -> str:
        self._check()
        if name == "force-writes":
            self.forced = argument == "on"
        return f"answer to {name} {argument}".rstrip()

    def reset(self) -> None:
        self._check()
        self._writable()
        self.values = start_registers()
        self.stop = Stop(StopReason.INTERRUPT)

    def _check(self) -> None:
        if self.failure:
            raise self.failure

    def _stopped(self, call: str) -> None:
        """Only a stopped guest may be asked."""
        self._check()
        assert self.stop is not None, f"{call} while the guest runs"
        self.calls.append(call)

    def _writable(self) -> None:
        if self.mode == "replay" and not self.forced:
            raise ReadOnly("a write would alter the replay")

    def _run(self) -> None:
        """On to the next stop, or to the loop at the end."""
        while self.stop is None:
            for kind, address, _ in self.breakpoints:
                if kind in _EXECUTE and address == self.values["rip"]:
                    software = kind is BreakpointKind.SOFTWARE
                    self.stop = Stop(
                        StopReason.BREAKPOINT if software else StopReason.HARDWARE_BREAKPOINT,
                        address,
                    )
                    return
            if self.values["rip"] == END or not RAM <= self.values["rip"] < RAM + RAM_SIZE:
                return  # there is nothing on the way that it could come to
            self._execute()

    def _execute(self) -> None:
        """One instruction."""
        rip = self.values["rip"]
        if rip == END:
            return
        self.values["rip"] = rip + 1
        if rip in self.writes_at:
            self._write(*self.writes_at[rip])
        if rip in self.stops_at:
            self.stop = self.stops_at[rip]

    def _write(self, at: int, data: bytes) -> None:
        self.memory[at - RAM : at - RAM + len(data)] = data
        for kind, address, length in self.breakpoints:
            if kind in _STOPS_AT_WRITE and at < address + length and address < at + len(data):
                self.stop = Stop(StopReason.WATCHPOINT, max(at, address), kind)


@contextmanager
def serving(target: Target, early: Description = X86_64) -> Iterator[tuple[GdbServer, list[str]]]:
    """A server for it in a thread, and what it says. A failure of the server fails the test."""
    said: list[str] = []
    server = GdbServer(target, 0, said.append, early)
    server.open()
    done = threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            while not done.is_set():
                server.serve_once(0.01)
            server.close()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server, said
    finally:
        done.set()
        thread.join(30)
        assert not thread.is_alive()
        assert not failures, failures


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what must come true; the test's deadline ends it otherwise."""
    while not condition():
        time.sleep(0.005)
