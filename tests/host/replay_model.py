"""A small machine whose whole run is known: what going back must find is looked up in it.

It has one-byte instructions, conditional branches, loads and stores, inputs, interrupts and DMA, as
a recording has them. Everything is kept for every boundary, so that the answers are simple.
"""

from __future__ import annotations

import enum
import itertools
import random
from dataclasses import dataclass, field

from lvmm.link import Position
from lvmm.logs.crc import crc32c

RAM, RAM_SIZE = 0x100000, 0x6000
CODE = RAM
HANDLER = CODE + 0x800
DATA, DATA_SIZE = RAM + 0x1000, 0x4000
STACK = RAM + 0x5800
NOP = b"\x90"

_MASK = (1 << 32) - 1


class Op(enum.Enum):
    """What an instruction does with its operand."""

    ADD = enum.auto()  # makes a new RAX of the old one
    STORE = enum.auto()  # AL to DATA + operand
    LOAD = enum.auto()  # AL from DATA + operand
    BRANCH = enum.auto()  # to CODE + operand if RAX is odd: counts as a conditional branch
    JUMP = enum.auto()  # to CODE + operand
    INPUT = enum.auto()  # RAX from a device: an event
    RETURN = enum.auto()  # from an interrupt


@dataclass(frozen=True)
class Insn:
    op: Op
    operand: int = 0


@dataclass(frozen=True)
class Access:
    """Bytes of memory that the way to the next boundary reads or writes."""

    address: int
    data: bytes
    is_write: bool


@dataclass(frozen=True)
class Boundary:
    """Between two instructions: registers, and what comes next."""

    at: Position
    rax: int
    access: Access | None


@dataclass
class Run:
    """All boundaries of a run, the last one at its end."""

    boundaries: list[Boundary] = field(default_factory=list)
    _last: tuple[int, bytes] = (-1, b"")

    def __len__(self) -> int:
        return len(self.boundaries)

    def memory(self, index: int) -> bytes:
        """All of RAM at a boundary."""
        if self._last[0] != index:
            self._last = (index, bytes(self._memory(index)))
        return self._last[1]

    def _memory(self, index: int) -> bytearray:
        ram = bytearray(NOP * (DATA - RAM) + bytes(RAM + RAM_SIZE - DATA))
        for boundary in self.boundaries[:index]:
            if boundary.access is not None and boundary.access.is_write:
                at = boundary.access.address - RAM
                ram[at : at + len(boundary.access.data)] = boundary.access.data
        return ram

    def index(self, at: Position) -> int:
        """Of the boundary at a position; each has one of its own."""
        return next(i for i, boundary in enumerate(self.boundaries) if boundary.at == at)


@dataclass
class _Cpu:
    rip: int = CODE
    rax: int = 1
    events: int = 0
    branches: int = 0
    saved: list[int] = field(default_factory=list)
    ram: bytearray = field(default_factory=lambda: bytearray(RAM_SIZE))

    def position(self) -> Position:
        state = self.rip.to_bytes(8, "little") + self.rax.to_bytes(8, "little")
        return Position(self.events, self.branches, self.rip, crc32c(state))


def run(
    program: list[Insn], handler: list[Insn], asynchronous: dict[int, bytes | None], length: int
) -> Run:
    """Runs the program for so many boundaries. `asynchronous` has DMA, or None for an interrupt,
    by the boundary where it happens.
    """
    code = {CODE + at: insn for at, insn in enumerate(program)}
    code |= {HANDLER + at: insn for at, insn in enumerate(handler)}
    cpu, found = _Cpu(), Run()
    for index in range(length):
        at, rax = cpu.position(), cpu.rax
        access = None
        if index in asynchronous and (asynchronous[index] or not cpu.saved):
            access = _apply(cpu, asynchronous[index])
        else:
            access = _execute(cpu, code.get(cpu.rip, Insn(Op.JUMP)))
        found.boundaries.append(Boundary(at, rax, access))
    found.boundaries.append(Boundary(cpu.position(), cpu.rax, None))
    return found


def _apply(cpu: _Cpu, dma: bytes | None) -> Access | None:
    cpu.events += 1
    if dma is None:
        cpu.saved.append(cpu.rip)
        cpu.rip = HANDLER
        return None
    return _write(cpu, DATA + cpu.events * 8 % DATA_SIZE, dma)


def _write(cpu: _Cpu, address: int, data: bytes) -> Access:
    cpu.ram[address - RAM : address - RAM + len(data)] = data
    return Access(address, data, is_write=True)


def _execute(cpu: _Cpu, insn: Insn) -> Access | None:
    cpu.rip += 1
    match insn.op:
        case Op.ADD:
            cpu.rax = (cpu.rax * 5 + insn.operand) & _MASK
        case Op.STORE:
            return _write(cpu, DATA + insn.operand, bytes((cpu.rax & 0xFF,)))
        case Op.LOAD:
            byte = cpu.ram[DATA + insn.operand - RAM]
            cpu.rax = cpu.rax & ~0xFF | byte
            return Access(DATA + insn.operand, bytes((byte,)), is_write=False)
        case Op.BRANCH:
            cpu.branches += 1
            if cpu.rax & 1:
                cpu.rip = CODE + insn.operand
        case Op.JUMP:
            cpu.rip = CODE + insn.operand
            cpu.branches += 1  # so that no two boundaries are the same
        case Op.INPUT:
            cpu.events += 1
            cpu.rax = (cpu.events * 0x9E3779B1) & _MASK
        case Op.RETURN:
            cpu.rip = cpu.saved.pop()
    return None


def random_run(seed: int, length: int = 400, size: int = 40, every: int = 15) -> Run:
    """A program that loops, with an interrupt or DMA for so many boundaries."""
    rng = random.Random(seed)

    def insn() -> Insn:
        op = rng.choices((Op.ADD, Op.STORE, Op.LOAD, Op.BRANCH, Op.INPUT), weights=(6, 3, 2, 3, 1))[
            0
        ]
        if op in (Op.STORE, Op.LOAD):
            return Insn(op, rng.choice((0, 1, 8, 0x1000, 0x1FFF, 0x2000, 0x2800)))
        return Insn(op, rng.randrange(size) if op is Op.BRANCH else rng.randrange(1, 100, 2))

    program = [insn() for _ in range(size)] + [Insn(Op.JUMP, rng.randrange(size))]
    handler = [Insn(Op.ADD, 7), Insn(Op.STORE, 0x3008), Insn(Op.RETURN)]
    indices = itertools.chain(rng.sample(range(length), length // every))
    asynchronous = {
        index: rng.choice((None, rng.randbytes(rng.randrange(1, 9)))) for index in indices
    }
    return run(program, handler, asynchronous, length)
