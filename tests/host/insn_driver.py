"""The C driver of decode.c and mmio_insn.c: its records, and the names of what is in them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.host.cbuild import build

MODES = {16: 0, 32: 1, 64: 2}
"""Bits of the code segment: enum decode_mode."""

OK, INVALID, TRUNCATED, UNSUPPORTED = 0, -1, -2, -3

OPERATIONS = [
    "mov",
    "movzx",
    "movsx",
    "movbe",
    "add",
    "or",
    "adc",
    "sbb",
    "and",
    "sub",
    "xor",
    "cmp",
    "test",
    "not",
    "neg",
    "inc",
    "dec",
    "xchg",
    "xadd",
    "cmpxchg",
    "bt",
    "bts",
    "btr",
    "btc",
    "movs",
    "stos",
    "lods",
    "scas",
]
"""enum insn_operation, in its order."""

OPERANDS_MEM, OPERANDS_MEM_REG, OPERANDS_REG_MEM, OPERANDS_MEM_IMM, OPERANDS_STRING = range(5)
REP_NONE, REP_F3, REP_F2 = range(3)
SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
SEGMENT_NONE = len(SEGMENTS)

REGISTERS = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)

CF, PF, AF, ZF, SF, DF, OF, RF = (1 << n for n in (0, 2, 4, 6, 7, 10, 11, 16))
STATUS_FLAGS = CF | PF | AF | ZF | SF | OF

MEMORY_SIZE = 256
MEMORY_BASE = 0x10000100
CODE_ADDRESS = 0x20000800
U64 = 0xFFFF_FFFF_FFFF_FFFF


def register_name(number: int, size: int, high: bool = False) -> str:
    """Name of general register `number` (0 to 15) as an operand of `size` bytes."""
    if high:
        return "acdb"[number] + "h"
    if number >= 8:
        return f"r{number}" + {1: "b", 2: "w", 4: "d", 8: ""}[size]
    name = REGISTERS[number]
    if size == 1:
        return name[0] + "l" if number < 4 else name + "l"
    return {2: "", 4: "e", 8: "r"}[size] + name


@dataclass(frozen=True)
class Decoded:
    """struct insn, or the error alone."""

    error: int
    immediate: int
    length: int
    mode: int
    operation: int
    operands: int
    size: int
    reg: int
    reg_size: int
    addr_size: int
    segment: int
    rep: int
    reg_high: int
    lock: int
    reads_memory: int
    writes_memory: int


_DECODE_REQUEST = struct.Struct("<BB15s")
_DECODE_REPLY = struct.Struct("<i4xQ14B2x")
_RUN_REQUEST = struct.Struct(f"<BBB15s6x16QQQQ6QQ{MEMORY_SIZE}s")
_RUN_REPLY = struct.Struct("<i4x" + f"16QQQ{MEMORY_SIZE}s" * 2)


@dataclass
class Machine:
    """Registers and memory after an instruction."""

    gpr: tuple[int, ...]
    rflags: int
    rip: int
    memory: bytes


@dataclass
class Case:
    """One instruction with the state that it starts from."""

    code: bytes
    gpr: list[int]
    rflags: int = 2
    address: int = MEMORY_BASE
    memory: bytes = bytes(MEMORY_SIZE)
    memory_base: int = MEMORY_BASE
    segment_base: Sequence[int] = (0,) * 6
    rip: int = CODE_ADDRESS
    bits: int = 64
    native: bool = False
    text: str = ""
    undefined_flags: int = 0
    """RFLAGS bits in which CPUs may differ."""


@dataclass
class Driver:
    """Runs the C driver on batches."""

    path: Path

    @classmethod
    def build(cls) -> Driver:
        """Build the driver under sanitizers."""
        sources = ["tests/host/c/decode_driver.c"]
        sources += [f"hypervisor/core/{name}.c" for name in ("decode", "mmio_insn")]
        return cls(build("decode_driver", tuple(sources)))

    def _call(self, mode: str, data: bytes) -> bytes:
        result = subprocess.run(
            [self.path, mode], input=data, capture_output=True, timeout=120, check=False
        )
        assert result.returncode == 0, result.stderr.decode(errors="replace")
        return result.stdout

    def decode(self, codes: Iterable[bytes], bits: int) -> list[Decoded]:
        """Decode each of `codes` in `bits`-bit mode."""
        data = b"".join(_DECODE_REQUEST.pack(MODES[bits], len(c), c) for c in codes)
        return [Decoded(*reply) for reply in _DECODE_REPLY.iter_unpack(self._call("decode", data))]

    def run(self, cases: Iterable[Case]) -> list[tuple[int, Machine, Machine]]:
        """Error, machine after emulation, and (for native cases) after the CPU's execution."""
        data = b"".join(
            _RUN_REQUEST.pack(
                MODES[c.bits],
                c.native,
                len(c.code),
                c.code,
                *c.gpr,
                c.rflags,
                c.rip,
                c.address,
                *c.segment_base,
                c.memory_base,
                c.memory,
            )
            for c in cases
        )
        replies = []
        for reply in _RUN_REPLY.iter_unpack(self._call("run", data)):
            machines = [
                Machine(part[:16], part[16], part[17], part[18])
                for part in (reply[1:20], reply[20:39])
            ]
            replies.append((reply[0], machines[0], machines[1]))
        return replies

    def run_one(self, case: Case) -> Machine:
        """The emulated result of one case that must succeed."""
        [(error, machine, _)] = self.run([case])
        assert error == OK
        return machine
