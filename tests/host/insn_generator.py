"""Random instances of every instruction form that decode.h promises, through the assembler."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.host.insn_driver import (
    CODE_ADDRESS,
    MEMORY_BASE,
    OPERANDS_MEM,
    OPERANDS_MEM_IMM,
    OPERANDS_MEM_REG,
    OPERANDS_REG_MEM,
    OPERANDS_STRING,
    RAX,
    REP_F2,
    REP_F3,
    REP_NONE,
    RSP,
    SEGMENT_NONE,
    SEGMENTS,
    register_name,
)


@dataclass
class Memory:
    """A memory operand: its text, the registers in it, and how its address is computed."""

    text: str
    registers: set[int]
    addr_size: int
    base: int | None = None
    index: int | None = None
    scale: int = 1
    displacement: int = 0
    rip_relative: bool = False
    segment: int = SEGMENT_NONE


@dataclass
class Generated:
    """An instruction as text, and what it means."""

    text: str
    operation: str
    operands: int
    size: int
    addr_size: int
    bits: int
    reg: int | None = None
    reg_size: int = 0
    reg_high: bool = False
    immediate: int | None = None
    rep: int = REP_NONE
    lock: bool = False
    segment: int = SEGMENT_NONE
    memory: Memory | None = None
    code: bytes = field(default=b"", repr=False)


POINTERS = {1: "byte", 2: "word", 4: "dword", 8: "qword"}
ARITHMETIC = ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")
LOCKABLE = {
    *("add", "or", "adc", "sbb", "and", "sub", "xor", "not", "neg", "inc", "dec"),
    *("xchg", "xadd", "cmpxchg", "bts", "btr", "btc"),
}
ADDRESSING_16 = ("bx+si", "bx+di", "bp+si", "bp+di", "si", "di", "bp", "bx")


class Generator:
    """Random instructions of every supported form, for one code size."""

    def __init__(self, bits: int, seed: int) -> None:
        self.bits = bits
        self.random = random.Random(seed)
        self.sizes = (1, 2, 4, 8) if bits == 64 else (1, 2, 4)

    def _maybe_segment(self, names: Sequence[int] = range(6)) -> int:
        return self.random.choice(names) if self.random.random() < 0.2 else SEGMENT_NONE

    def memory(self, low_registers: bool = False) -> Memory:
        """A memory operand; with `low_registers` one that needs no REX prefix."""
        rng = self.random
        segment = self._maybe_segment()
        prefix = "" if segment == SEGMENT_NONE else SEGMENTS[segment] + ":"
        addr_size = rng.choice((8, 8, 8, 8, 4) if self.bits == 64 else (2, 4))
        if addr_size == 2:
            form = rng.choice(ADDRESSING_16)
            displacement = rng.choice((0, 0x12, -0x12, 0x1234, -0x1234))
            sign = "-" if displacement < 0 else "+"
            return Memory(f"{prefix}[{form}{sign}{abs(displacement):#x}]", set(), 2, None)
        limit = 8 if self.bits != 64 or low_registers else 16
        base = rng.randrange(limit) if rng.random() < 0.85 else None
        index = rng.randrange(limit) if rng.random() < 0.4 else None
        if index == RSP:
            index = None
        if index is not None and index == base:
            index = None
        scale = rng.choice((1, 2, 4, 8)) if index is not None else 1
        displacement = rng.choice((0, 0, rng.randrange(-128, 128), rng.randrange(-(2**31), 2**31)))
        rip_relative = False
        if base is None and index is None:
            addr_size = self.bits // 8
            displacement = 0x1234 if self.bits == 16 else MEMORY_BASE + 64
            if self.bits == 64 and rng.random() < 0.6:
                rip_relative = True
                displacement -= CODE_ADDRESS + 8
        terms = []
        if base is not None:
            terms.append(register_name(base, addr_size))
        if rip_relative:
            terms.append("rip")
        if index is not None:
            terms.append(f"{register_name(index, addr_size)}*{scale}")
        text = "+".join(terms)
        if displacement or not terms:
            text += f"{'-' if displacement < 0 else '+'}{abs(displacement):#x}"
        if not terms:  # in this syntax a number in brackets is no address otherwise
            prefix = prefix or "ds:"
        return Memory(
            f"{prefix}[{text}]",
            {r for r in (base, index) if r is not None},
            addr_size,
            base,
            index,
            scale,
            displacement,
            rip_relative,
            segment,
        )

    def _operands(self, size: int) -> tuple[Memory, int, bool, str]:
        """Memory and register operand; sometimes a high-byte register."""
        rng = self.random
        high = size == 1 and rng.random() < 0.3
        memory = self.memory(low_registers=high)
        if high:
            reg = rng.randrange(4)
        elif self.bits == 64:
            reg = rng.randrange(16)
        else:
            reg = rng.randrange(4 if size == 1 else 8)
        return memory, reg, high, register_name(reg, size, high)

    def _immediate(self, size: int) -> int:
        """A signed immediate as the assembler encodes it for operand size `size`."""
        rng = self.random
        width = 8 * min(size, 4)
        value = rng.choice((rng.randrange(-128, 128), rng.randrange(-(1 << width), 1 << width)))
        value &= (1 << width) - 1
        return value - (1 << width) if value >> (width - 1) else value

    def _pointer(self, size: int, memory: Memory) -> str:
        return f"{POINTERS[size]} ptr {memory.text}"

    def with_register(self, operation: str, size: int, to_register: bool) -> Generated:
        """OPERATION mem, reg or OPERATION reg, mem."""
        memory, reg, high, name = self._operands(size)
        mnemonic = operation
        if operation == "mov" and not to_register and size >= 4 and self.random.random() < 0.3:
            mnemonic = "movnti"
        pointer = self._pointer(size, memory)
        operands = f"{name}, {pointer}" if to_register else f"{pointer}, {name}"
        return Generated(
            f"{mnemonic} {operands}",
            operation,
            OPERANDS_REG_MEM if to_register else OPERANDS_MEM_REG,
            size,
            memory.addr_size,
            self.bits,
            reg=reg,
            reg_size=size,
            reg_high=high,
            segment=memory.segment,
            memory=memory,
        )

    def with_immediate(self, operation: str, size: int) -> Generated:
        """OPERATION mem, imm."""
        memory = self.memory()
        immediate = self._immediate(size)
        if operation in ("bt", "bts", "btr", "btc"):
            immediate = self.random.randrange(-128, 128)
        text = immediate & 0xFF if operation.startswith("bt") else immediate
        return Generated(
            f"{operation} {self._pointer(size, memory)}, {text}",
            operation,
            OPERANDS_MEM_IMM,
            size,
            memory.addr_size,
            self.bits,
            immediate=immediate,
            segment=memory.segment,
            memory=memory,
        )

    def single(self, operation: str, size: int) -> Generated:
        """OPERATION mem."""
        memory = self.memory()
        return Generated(
            f"{operation} {self._pointer(size, memory)}",
            operation,
            OPERANDS_MEM,
            size,
            memory.addr_size,
            self.bits,
            segment=memory.segment,
            memory=memory,
        )

    def extending(self, operation: str, size: int, reg_size: int) -> Generated:
        """MOVZX, MOVSX, MOVSXD."""
        memory, reg, _, name = self._operands(reg_size)
        mnemonic = "movsxd" if size == 4 else operation
        return Generated(
            f"{mnemonic} {name}, {self._pointer(size, memory)}",
            operation,
            OPERANDS_REG_MEM,
            size,
            memory.addr_size,
            self.bits,
            reg=reg,
            reg_size=reg_size,
            segment=memory.segment,
            memory=memory,
        )

    def absolute(self, size: int, to_register: bool) -> Generated:
        """MOV between the accumulator and an absolute address."""
        address = MEMORY_BASE + 40
        pointer = f"{POINTERS[size]} ptr ds:[{address:#x}]"
        if self.bits == 16:
            pointer = f"{POINTERS[size]} ptr ds:[0x1234]"
        name = register_name(RAX, size)
        mnemonic = "movabs" if self.bits == 64 else "mov"
        memory = Memory(pointer, set(), self.bits // 8, displacement=address)
        operands = f"{name}, {pointer}" if to_register else f"{pointer}, {name}"
        return Generated(
            f"{mnemonic} {operands}",
            "mov",
            OPERANDS_REG_MEM if to_register else OPERANDS_MEM_REG,
            size,
            self.bits // 8,
            self.bits,
            reg=RAX,
            reg_size=size,
            memory=memory,
        )

    def string(self, operation: str, size: int) -> Generated:
        """A string instruction, often with a repeat prefix."""
        rng = self.random
        rep = rng.choice((REP_NONE, REP_F3, REP_F3, REP_F2 if operation == "scas" else REP_F3))
        prefixes = {REP_NONE: "", REP_F3: "rep ", REP_F2: "repne "}[rep]
        if operation == "scas" and rep == REP_F3:
            prefixes = "repe "
        natural = self.bits // 8
        other = {16: 4, 32: 2, 64: 4}[self.bits]
        addr_size = natural if rng.random() < 0.7 else other
        if addr_size != natural:
            prefixes = ("addr16 " if addr_size == 2 else "addr32 ") + prefixes
        segment = SEGMENT_NONE
        if operation in ("movs", "lods"):
            segment = self._maybe_segment(range(4, 6) if self.bits == 64 else range(6))
            if segment != SEGMENT_NONE:
                prefixes = f"{SEGMENTS[segment]} " + prefixes
        return Generated(
            f"{prefixes}{operation}{ {1: 'b', 2: 'w', 4: 'd', 8: 'q'}[size] }",
            operation,
            OPERANDS_STRING,
            size,
            addr_size,
            self.bits,
            rep=rep,
            segment=segment,
        )

    def one_of_each(self) -> list[Generated]:
        """An instance of every form and size, with random operands."""
        wide = [s for s in self.sizes if s > 1]
        out = []
        for size in self.sizes:
            for operation in (*ARITHMETIC, "mov"):
                out.append(self.with_register(operation, size, to_register=True))
            for operation in (*ARITHMETIC, "mov", "test", "xchg", "xadd", "cmpxchg"):
                out.append(self.with_register(operation, size, to_register=False))
            for operation in (*ARITHMETIC, "mov", "test"):
                out.append(self.with_immediate(operation, size))
            for operation in ("not", "neg", "inc", "dec"):
                out.append(self.single(operation, size))
            for operation in ("movs", "stos", "lods", "scas"):
                out.append(self.string(operation, size))
            for to_register in (True, False):
                out.append(self.absolute(size, to_register))
        for size in wide:
            for operation in ("bt", "bts", "btr", "btc"):
                out.append(self.with_register(operation, size, to_register=False))
                out.append(self.with_immediate(operation, size))
            out.append(self.with_register("movbe", size, to_register=True))
            out.append(self.with_register("movbe", size, to_register=False))
            for operation in ("movzx", "movsx"):
                out.append(self.extending(operation, 1, size))
                if size > 2:
                    out.append(self.extending(operation, 2, size))
        if self.bits == 64:
            out.append(self.extending("movsx", 4, 8))
        for insn in out:
            lockable = insn.operation in LOCKABLE and insn.operands != OPERANDS_REG_MEM
            if lockable and self.random.random() < 0.3:
                insn.text = "lock " + insn.text
                insn.lock = True
            insn.lock |= insn.operation == "xchg"
        return out


def assemble(instructions: list[Generated], directory: Path) -> None:
    """Fill in `code` of each instruction; they are all of one code size."""
    lines = [".intel_syntax noprefix", f".code{instructions[0].bits}"]
    for insn in instructions:
        lines.append(f"1: {insn.text}")
        lines.append('2: .section .lengths, "a"; .byte 2b-1b; .text')
    source, assembled = directory / "insns.s", directory / "insns.o"
    source.write_text("\n".join(lines) + "\n")
    subprocess.run(["as", "--64", "-o", assembled, source], check=True, timeout=60)
    parts = {}
    for section in (".text", ".lengths"):
        output = directory / ("insns" + section)
        subprocess.run(
            ["objcopy", "-O", "binary", "-j", section, assembled, output], check=True, timeout=60
        )
        parts[section] = output.read_bytes()
    position = 0
    for insn, length in zip(instructions, parts[".lengths"], strict=True):
        insn.code = parts[".text"][position : position + length]
        position += length
