"""The registers as gdb numbers them: order, sizes, types, and where each comes from.

Numbers, names and features are those of gdb's x86 (gdb manual, G.5.5 i386 Features); the registers
of the system that gdb has no feature for come behind, in a feature of ours. There are two sets: gdb
disassembles and unwinds 32-bit code, and takes 32-bit ELF files, only where the target says that it
has the 32-bit registers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lvmm.gdb import target, xsave

CORE = "org.gnu.gdb.i386.core"
SSE = "org.gnu.gdb.i386.sse"
AVX = "org.gnu.gdb.i386.avx"
SEGMENTS = "org.gnu.gdb.i386.segments"
SYSTEM = "lvmm.x86.system"


@dataclass(frozen=True)
class Register:
    """One of gdb's registers. `source` is the name that the target has for it."""

    number: int
    name: str
    source: str
    bits: int
    type: str
    group: str
    feature: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.bits // 8

    @property
    def in_fpu(self) -> bool:
        """Whether it is in the XSAVE image."""
        return self.source in xsave.NAMES


@dataclass(frozen=True)
class Description:
    """A set of registers, by the name that gdb has for the architecture."""

    architecture: str
    registers: tuple[Register, ...]

    def __getitem__(self, name: str) -> Register:
        return next(register for register in self.registers if register.name == name)

    @functools.cached_property
    def general(self) -> tuple[Register, ...]:
        """What the `g` packet has.

        gdb asks for the others, one by one, when it needs them: so the FPU's image does not go over
        the link at every step.
        """
        return self.registers[: self["st0"].number]

    @functools.cached_property
    def expedited(self) -> tuple[Register, ...]:
        """Instruction, stack and frame pointer: what gdb needs at every stop."""
        sources = ("rip", "rsp", "rbp")
        return tuple(register for register in self.general if register.source in sources)

    @property
    def program_counter(self) -> Register:
        """RIP."""
        return self.expedited[-1]


# Name, source, bits, type, group and feature.
_Row = tuple[str, str, int, str, str, str]

_GENERAL_64 = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
_GENERAL_32 = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")
_POINTERS = {"rip": "code_ptr", "rsp": "data_ptr", "rbp": "data_ptr"}
_FLAGS = {name: name for name in ("cr0", "cr4", "efer", "dr6", "dr7")}
_X87 = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")


def _core() -> Iterator[_Row]:
    """Behind the general registers: the same in both architectures."""
    yield "eflags", "rflags", 32, "i386_eflags", "general", CORE
    for name in target.SELECTORS:
        yield name, name, 32, "int32", "general", CORE
    for i in range(8):
        yield f"st{i}", f"st{i}", 80, "i387_ext", "float", CORE
    for name in _X87:
        yield name, name, 32, "int", "float", CORE


def _vectors(count: int) -> Iterator[_Row]:
    for i in range(count):
        yield f"xmm{i}", f"xmm{i}", 128, "vec128", "vector", SSE
    yield "mxcsr", "mxcsr", 32, "i386_mxcsr", "vector", SSE
    for i in range(count):
        yield f"ymm{i}h", f"ymm{i}h", 128, "uint128", "vector", AVX


def _system(bits: int, bases: Iterable[str]) -> Iterator[_Row]:
    for name in bases:
        yield name.replace("kernel", "k"), name, bits, f"uint{bits}", "system", SYSTEM
    for name in (*target.CONTROL, *target.DEBUG):
        yield name, name, 64, _FLAGS.get(name, "uint64"), "system", SYSTEM


def _rows_64() -> Iterator[_Row]:
    for name in (*_GENERAL_64, *(f"r{i}" for i in range(8, 16)), "rip"):
        yield name, name, 64, _POINTERS.get(name, "int64"), "general", CORE
    yield from _core()
    yield from _vectors(16)
    in_gdb = ("fs_base", "gs_base")
    for name in in_gdb:
        yield name, name, 64, "uint64", "general", SEGMENTS
    yield from _system(64, [name for name in target.BASES if name not in in_gdb])


def _rows_32() -> Iterator[_Row]:
    for name in (*_GENERAL_32, "rip"):
        yield name.replace("r", "e", 1), name, 32, _POINTERS.get(name, "int32"), "general", CORE
    yield from _core()
    yield from _vectors(8)
    yield from _system(32, [name for name in target.BASES if name != "kernel_gs_base"])


def _description(architecture: str, rows: Iterable[_Row]) -> Description:
    registers = tuple(Register(number, *row) for number, row in enumerate(rows))
    return Description(architecture, registers)


X86_64 = _description("i386:x86-64", _rows_64())
I386 = _description("i386", _rows_32())
I8086 = Description("i8086", I386.registers)  # gdb disassembles 16-bit code for this one only


def program_counter(values: target.Registers) -> int:
    """RIP as wide as the code is: 64 bits, or the 32 that 32- and 16-bit code has of it."""
    rip = values["rip"]
    return rip if code_bits(values) == 64 else rip & 0xFFFF_FFFF


def code_bits(values: target.Registers) -> int:
    """64, 32 or 16, by EFER.LMA and the code segment's bits L and D (SDM volume 3, 5.2.1)."""
    access = values[target.CODE_ACCESS]
    if values["efer"] >> 10 & 1 and access >> 13 & 1:
        return 64
    return 32 if access >> 14 & 1 else 16
