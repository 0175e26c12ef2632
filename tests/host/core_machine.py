"""A machine's memory, made for the tests of cores: RAM, page tables, a log region."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.host.log_driver import HEADER, RECORDING_ID

from lvmm.logs import layout
from lvmm.logs.codec import Event, Registers
from lvmm.logs.layout import E820Entry, EndReason, FinalState, Segment
from lvmm.logs.writer import LogWriter, build_region

MIB = 1 << 20
RAM = 4 * MIB
REGION_SIZE = MIB
RANGES = [(0x1000, 0x9F000), (MIB, RAM)]

PML4 = 0x100000  # the top table; the others follow it
CODE = 0xFFFFFFFF80000000  # where the code is mapped, page by page, backwards in physical memory
CODE_PAGES = 8
CODE_FRAME = 0x200000
KERNEL_BASE = 0xFFFFFFFF80000000
RIP = CODE + 0x123

_PRESENT_WRITABLE = 3
_LARGE = 1 << 7


def final_state(**changes: object) -> FinalState:
    segment = Segment(base=0, limit=0xFFFFFFFF, attributes=0xA09B, selector=0x10, reserved=0)
    state = FinalState(
        gpr=tuple(0x1000 + index for index in range(16)),
        rip=RIP,
        rflags=0x246,
        cr0=0x80010033,
        cr2=0,
        cr3=PML4,
        cr4=0x20,
        cr8=0,
        efer=0xD01,
        dr7=0x400,
        branches=100,
        segments=tuple(replace(segment, base=0x100 * index) for index in range(8)),
        gdtr_base=0,
        idtr_base=0,
        gdtr_limit=0,
        idtr_limit=0,
    )
    return replace(state, **changes)  # type: ignore[arg-type]


@dataclass
class Memory:
    """Physical memory, as lvmm.guest_view.Physical."""

    data: bytearray = field(default_factory=lambda: bytearray(RAM))

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data

    def entry(self, table: int, index: int, value: int) -> None:
        self.write(table + 8 * index, struct.pack("<Q", value))


def mapped_memory() -> Memory:
    """RAM where it is, in two large pages, and eight pages of code in the highest 2 GiB."""
    memory = Memory()
    low, large, high, middle, small = (PML4 + 0x1000 * n for n in range(1, 6))
    memory.entry(PML4, 0, low | _PRESENT_WRITABLE)
    memory.entry(low, 0, large | _PRESENT_WRITABLE)
    for index in range(RAM // (2 * MIB)):
        memory.entry(large, index, 2 * MIB * index | _PRESENT_WRITABLE | _LARGE)
    memory.entry(PML4, 511, high | _PRESENT_WRITABLE)
    memory.entry(high, 510, middle | _PRESENT_WRITABLE)
    memory.entry(middle, 0, small | _PRESENT_WRITABLE)
    for page in range(CODE_PAGES):
        frame = CODE_FRAME + 0x1000 * (CODE_PAGES - 1 - page)
        memory.entry(small, page, frame | _PRESENT_WRITABLE)
        memory.write(frame, bytes([page + 1]) * 0x1000)
    return memory


def log_of(state: FinalState | None) -> LogWriter:
    """A log of one event and, unless `state` is None, the END."""
    header = replace(
        HEADER,
        machine=replace(HEADER.machine, guest_memory_bytes=RAM),
        e820=[E820Entry(0, 0x9FC00, 1, 0), E820Entry(MIB, RAM - MIB, 1, 0)],
    )
    writer = LogWriter(RECORDING_ID, header)
    registers = Registers((0,) * 16, RIP, 2)
    writer.write(Event(layout.In(0x3FD, 1, 0x60), 10, RIP, check=registers.check(0)))
    if state is not None:
        end = layout.End(EndReason.RESET, state.pack())
        writer.write(Event(end, 100, state.rip, check=registers.check(0)))
    writer.flush()
    return writer


def image_of(memory: Memory, path: Path, state: FinalState | None = None) -> Path:
    """A file with the machine's memory, the log behind the RAM."""
    path.write_bytes(bytes(memory.data) + build_region(log_of(state), REGION_SIZE))
    return path
