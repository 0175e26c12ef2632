"""Tests of hypervisor/core/decode.c, built for the host under sanitizers.

Instructions come from the GNU assembler and from random bytes; what the decoder says about the
latter is compared with capstone.
"""

from __future__ import annotations

import random
from pathlib import Path

import capstone  # type: ignore[import-untyped]
import pytest
from capstone import x86_const
from tests.host.insn_driver import (
    INVALID,
    MODES,
    OK,
    OPERANDS_MEM_IMM,
    OPERANDS_MEM_REG,
    OPERANDS_REG_MEM,
    OPERATIONS,
    SEGMENT_NONE,
    SEGMENTS,
    TRUNCATED,
    UNSUPPORTED,
    Decoded,
    Driver,
    register_name,
)
from tests.host.insn_generator import Generator, assemble

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def driver() -> Driver:
    return Driver.build()


def effective_segment(segment: int, bits: int) -> int:
    """In 64-bit mode only FS and GS overrides count."""
    return segment if bits != 64 or segment >= SEGMENTS.index("fs") else SEGMENT_NONE


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_assembled_forms_decode_to_their_meaning(driver: Driver, tmp_path: Path, bits: int) -> None:
    generator = Generator(bits, seed=bits)
    instructions = [insn for _ in range(20) for insn in generator.one_of_each()]
    assemble(instructions, tmp_path)
    for insn, got in zip(
        instructions, driver.decode((i.code for i in instructions), bits), strict=True
    ):
        context = f"{insn.text} = {insn.code.hex()}: {got}"
        assert got.error == OK, context
        assert got.length == len(insn.code), context
        assert OPERATIONS[got.operation] == insn.operation, context
        assert got.operands == insn.operands, context
        assert got.size == insn.size, context
        assert got.addr_size == insn.addr_size, context
        assert got.rep == insn.rep, context
        assert bool(got.lock) == insn.lock, context
        if insn.reg is not None:
            assert (got.reg, got.reg_size) == (insn.reg, insn.reg_size), context
            assert bool(got.reg_high) == insn.reg_high, context
        if insn.immediate is not None:
            mask = (1 << 8 * insn.size) - 1
            assert got.immediate & mask == insn.immediate & mask, context
        if insn.segment != SEGMENT_NONE:
            # Without one, the assembler may drop or add a redundant DS override.
            wanted = effective_segment(insn.segment, bits)
            assert got.segment == wanted or insn.segment in (2, 3), context


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_every_truncation_asks_for_more(driver: Driver, tmp_path: Path, bits: int) -> None:
    generator = Generator(bits, seed=100 + bits)
    instructions = generator.one_of_each()
    assemble(instructions, tmp_path)
    codes = [i.code[:n] for i in instructions for n in range(len(i.code))]
    for code, got in zip(codes, driver.decode(codes, bits), strict=True):
        assert got.error == TRUNCATED, f"{code.hex()}: {got}"


# --- comparison with capstone on random bytes --------------------------------------------------

_CAPSTONE_MODES = {
    16: capstone.CS_MODE_16,
    32: capstone.CS_MODE_32,
    64: capstone.CS_MODE_64,
}


LEGACY_PREFIXES = bytes.fromhex("66 67 f0 f2 f3 26 2e 36 3e 64 65")
REX_PREFIXES = bytes(range(0x40, 0x50))


def prefixes_of(code: bytes) -> bytes:
    """The legacy and REX prefixes at the start of `code`."""
    stripped = code.lstrip(LEGACY_PREFIXES + REX_PREFIXES)
    return code[: len(code) - len(stripped)]


def random_codes(seed: int, count: int) -> list[bytes]:
    """15 random bytes each, often starting with prefixes and the opcodes of interest."""
    rng = random.Random(seed)
    opcodes = [bytes([b]) for b in (*range(0x40), 0x63, *range(0x80, 0x8C), *range(0xA0, 0xB0))]
    opcodes += [bytes([b]) for b in (0xC6, 0xC7, 0xF6, 0xF7, 0xFE, 0xFF)]
    opcodes += [bytes([0x0F, b]) for b in range(0xA0, 0xC4)]
    opcodes += [bytes([0x0F, 0x38, b]) for b in (0xF0, 0xF1, 0xF2)]
    codes = []
    for _ in range(count):
        code = b""
        while rng.random() < 0.4:
            code += bytes([rng.choice(LEGACY_PREFIXES)])
        if rng.random() < 0.3:
            code += bytes([rng.choice(REX_PREFIXES)])
        if rng.random() < 0.9:
            code += rng.choice(opcodes)
        code += rng.randbytes(15)
        codes.append(code[:15])
    return codes


_MNEMONICS = {"movabs": "mov", "movnti": "mov", "movsxd": "movsx"}


def capstone_operation(insn: capstone.CsInsn) -> str:
    """Capstone's mnemonic in the words of `OPERATIONS`."""
    mnemonic = str(insn.mnemonic).split()[-1]
    mnemonic = _MNEMONICS.get(mnemonic, mnemonic)
    if mnemonic[:-1] in ("movs", "stos", "lods", "scas") and mnemonic[-1] in "bwdq":
        return mnemonic[:-1]
    return mnemonic


def compare_with_capstone(got: Decoded, insn: capstone.CsInsn, context: str) -> None:
    """Assert that both see the same instruction."""
    assert got.length == insn.size, context
    assert OPERATIONS[got.operation] == capstone_operation(insn), context
    assert got.addr_size == insn.addr_size, context
    memory = [op for op in insn.operands if op.type == x86_const.X86_OP_MEM]
    registers = [op for op in insn.operands if op.type == x86_const.X86_OP_REG]
    immediates = [op for op in insn.operands if op.type == x86_const.X86_OP_IMM]
    bit_test = OPERATIONS[got.operation].startswith("bt")
    if not bit_test and OPERATIONS[got.operation] not in ("cmpxchg", "xadd", "movbe"):
        # For those with 66 capstone may say another size, though it names the right register.
        assert [op.size for op in memory] == [got.size] * len(memory), context
    if got.operands in (OPERANDS_MEM_REG, OPERANDS_REG_MEM):
        name = register_name(got.reg, got.reg_size, bool(got.reg_high))
        assert insn.reg_name(registers[0].reg) == name, context
        if OPERATIONS[got.operation] not in ("test", "xchg"):  # their order does not matter
            register_first = insn.operands[0].type == x86_const.X86_OP_REG
            assert register_first == (got.operands == OPERANDS_REG_MEM), context
    if got.operands == OPERANDS_MEM_IMM:
        mask = 0xFF if bit_test else (1 << 8 * got.size) - 1
        assert got.immediate & mask == immediates[0].imm & mask, context


def should_be_supported(insn: capstone.CsInsn) -> bool:
    """Whether decode.h promises this instruction."""
    operation = capstone_operation(insn)
    types = {op.type for op in insn.operands}
    if operation not in OPERATIONS or x86_const.X86_OP_MEM not in types:
        return False
    names = [insn.reg_name(op.reg) for op in insn.operands if op.type == x86_const.X86_OP_REG]
    return not any(name in SEGMENTS for name in names)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_random_bytes_agree_with_capstone(driver: Driver, bits: int) -> None:
    codes = random_codes(seed=bits, count=20000)
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, _CAPSTONE_MODES[bits])
    disassembler.detail = True
    compared = 0
    for code, got in zip(codes, driver.decode(codes, bits), strict=True):
        assert got.error in (OK, INVALID, UNSUPPORTED), code.hex()
        insn = next(disassembler.disasm(code, 0, 1), None)
        if insn is None:
            continue
        context = f"{code.hex()}: {got} {insn.mnemonic} {insn.op_str}"
        if got.error == OK:
            compare_with_capstone(got, insn, context)
            compared += 1
        elif got.error == INVALID:
            # Capstone does not mind a misplaced LOCK.
            assert 0xF0 in prefixes_of(code) or not should_be_supported(insn), context
        else:
            # Refused: MOVNTI and MOVBE with prefixes that select no form of theirs in the SDM, and
            # MOVSXD to 16 bits (see decode.c).
            refused = insn.mnemonic in ("movnti", "movbe", "movsxd")
            assert refused or not should_be_supported(insn), context
    assert compared > 5000


def test_random_truncated_bytes_never_claim_more_than_given(driver: Driver) -> None:
    rng = random.Random(5)
    for bits in MODES:
        codes = [code[: rng.randrange(16)] for code in random_codes(seed=bits + 7, count=20000)]
        for code, got in zip(codes, driver.decode(codes, bits), strict=True):
            assert got.error in (OK, INVALID, TRUNCATED, UNSUPPORTED)
            assert got.length <= len(code), code.hex()


@pytest.mark.parametrize(
    ("bits", "code", "error"),
    [
        (64, "f08b03", INVALID),  # LOCK where memory is not the destination
        (64, "f08903", INVALID),  # LOCK MOV
        (64, "f03b03", INVALID),  # LOCK CMP
        (64, "f0a4", INVALID),  # LOCK MOVSB
        (64, "820301", INVALID),  # no alias of 80 in 64-bit mode
        (32, "820301", OK),
        (64, "66" * 14 + "8b", INVALID),  # 16 bytes
        (64, "66" * 13 + "8b03", OK),
        (64, "66" * 15, INVALID),
        (64, "8bc3", UNSUPPORTED),  # register to register
        (64, "660f6f03", UNSUPPORTED),  # MOVDQA
        (64, "f30f6f03", UNSUPPORTED),  # MOVDQU
        (64, "0f2803", UNSUPPORTED),  # MOVAPS
        (64, "f20f38f003", UNSUPPORTED),  # CRC32
        (64, "c5f96f03", UNSUPPORTED),  # VEX
        (64, "62f17d486f03", UNSUPPORTED),  # EVEX
        (32, "6303", UNSUPPORTED),  # ARPL
        (64, "ff33", UNSUPPORTED),  # PUSH
        (64, "ff13", UNSUPPORTED),  # CALL
        (64, "f723", UNSUPPORTED),  # MUL
        (64, "a6", UNSUPPORTED),  # CMPSB
        (64, "8e03", UNSUPPORTED),  # MOV to a segment register
        (64, "", TRUNCATED),
        (64, "0f", TRUNCATED),
        (64, "0f38", TRUNCATED),
    ],
)
def test_refusals(driver: Driver, bits: int, code: str, error: int) -> None:
    [got] = driver.decode([bytes.fromhex(code)], bits)
    assert got.error == error


def test_rex_before_a_legacy_prefix_has_no_effect(driver: Driver) -> None:
    [ignored, counts] = driver.decode([bytes.fromhex(c) for c in ("48668b03", "66488b03")], 64)
    assert (ignored.size, counts.size) == (2, 8)
