"""Tests of hypervisor/core/mmio_insn.c, built for the host under sanitizers.

The CPU that runs the test executes the same instructions on ordinary memory, for comparison.
"""

from __future__ import annotations

import platform
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.host.insn_driver import (
    AF,
    CF,
    CODE_ADDRESS,
    DF,
    MEMORY_BASE,
    MEMORY_SIZE,
    OF,
    OK,
    PF,
    RAX,
    RCX,
    RDI,
    REGISTERS,
    REP_NONE,
    RF,
    RSI,
    SEGMENTS,
    SF,
    STATUS_FLAGS,
    U64,
    Case,
    Driver,
    Machine,
    register_name,
)
from tests.host.insn_generator import Generated, Generator, Memory, assemble

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def driver() -> Driver:
    return Driver.build()


_HOST_RUNS_X86 = platform.machine() == "x86_64"
MEMORY_END = MEMORY_BASE + MEMORY_SIZE


def address_value(memory: Memory, gpr: Sequence[int], code_length: int) -> int:
    """Effective address (SDM vol. 1, section 3.7.5)."""
    address = memory.displacement
    if memory.base is not None:
        address += gpr[memory.base]
    if memory.index is not None:
        address += gpr[memory.index] * memory.scale
    if memory.rip_relative:
        address += CODE_ADDRESS + code_length
    return address & ((1 << 8 * memory.addr_size) - 1)


def place_memory_operand(
    memory: Memory, gpr: list[int], size: int, rng: random.Random, aligned: bool
) -> bool:
    """Set the address registers so that the operand is inside the memory block.

    Returns False where the form does not allow an address that fits.
    """
    bits = 8 * memory.addr_size
    step = size if aligned else 1
    wanted = [
        address
        for address in range(MEMORY_BASE + 96, MEMORY_BASE + 160, step)
        if memory.base is not None or (address - memory.displacement) % memory.scale == 0
    ]
    if not wanted:
        return False
    address = rng.choice(wanted) - memory.displacement
    register = memory.base if memory.base is not None else memory.index
    if register is None:
        return not aligned
    if memory.base is not None:
        address -= gpr[memory.index] * memory.scale if memory.index is not None else 0
    value = address & ((1 << bits) - 1)
    if memory.base is None:
        value //= memory.scale
    gpr[register] = value | (gpr[register] >> bits << bits)
    return True


UNDEFINED_FLAGS = {
    **dict.fromkeys(("and", "or", "xor", "test"), AF),
    **dict.fromkeys(("bt", "bts", "btr", "btc"), OF | SF | AF | PF),
}


def native_case(insn: Generated, rng: random.Random) -> Case | None:
    """Random registers, flags and memory for `insn`; None where it cannot run in this process."""
    if insn.segment == SEGMENTS.index("fs"):
        return None  # the C library's thread pointer
    gpr = [rng.choice((rng.getrandbits(64), rng.randrange(-3, 3) & U64)) for _ in range(16)]
    content = bytearray(rng.choice((0, 0x7F, 0x80, 0xFF, *rng.randbytes(8))) for _ in range(256))
    address = 0
    bit_test = insn.operation in ("bt", "bts", "btr", "btc")
    if insn.memory is not None:
        if insn.operation == "cmpxchg" and insn.reg in insn.memory.registers:
            return None
        if bit_test and insn.reg is not None:
            if insn.reg in insn.memory.registers:
                return None
            mask = (1 << 8 * insn.size) - 1
            gpr[insn.reg] = (gpr[insn.reg] & ~mask) | (rng.randrange(-400, 400) & mask)
        if not place_memory_operand(insn.memory, gpr, insn.size, rng, aligned=insn.lock):
            return None
        address = address_value(insn.memory, gpr, len(insn.code))
        if bit_test and insn.reg is not None:
            bits = 8 * insn.size
            number = gpr[insn.reg] & ((1 << bits) - 1)
            number -= (number >> (bits - 1)) << bits
            address += number // bits * insn.size
        if insn.operation == "cmpxchg" and RAX not in insn.memory.registers and rng.random() < 0.5:
            start = address - MEMORY_BASE
            accumulator = gpr[RAX].to_bytes(8, "little")[: insn.size]
            content[start : start + insn.size] = accumulator
    else:
        keep = U64 << 8 * insn.addr_size & U64
        for register in (RSI, RDI):
            target = MEMORY_BASE + rng.randrange(96, 160)
            gpr[register] = (gpr[register] & keep) | target
        if insn.rep != REP_NONE:
            gpr[RCX] = (gpr[RCX] & keep) | rng.randrange(1, 7)
        if insn.operation == "scas" and rng.random() < 0.5:
            content = bytearray(gpr[RAX].to_bytes(8, "little")[: insn.size] * 256)[:256]
    return Case(
        insn.code,
        gpr,
        rflags=2 | rng.getrandbits(32) & (STATUS_FLAGS | DF),
        address=address,
        memory=bytes(content),
        native=True,
        text=insn.text,
        undefined_flags=UNDEFINED_FLAGS.get(insn.operation, 0),
    )


def assert_same_machine(case: Case, emulated: Machine, native: Machine) -> None:
    context = f"{case.text} = {case.code.hex()}, rflags {case.rflags:#x}"
    for number in range(16):
        name = register_name(number, 8)
        registers = f"{name}: {emulated.gpr[number]:#x}, CPU {native.gpr[number]:#x}"
        assert emulated.gpr[number] == native.gpr[number], f"{context}: {registers}"
    flags = (STATUS_FLAGS | DF) & ~case.undefined_flags
    different = (emulated.rflags ^ native.rflags) & flags
    assert different == 0, f"{context}: flags {emulated.rflags:#x}, CPU {native.rflags:#x}"
    assert emulated.memory == native.memory, context
    assert emulated.rip == native.rip, context


@pytest.mark.skipif(not _HOST_RUNS_X86, reason="compares with the CPU, which must be an x86-64")
@pytest.mark.parametrize("seed", range(2))
def test_completion_matches_the_cpu(driver: Driver, tmp_path: Path, seed: int) -> None:
    generator = Generator(64, seed=1000 + seed)
    instructions = [insn for _ in range(10) for insn in generator.one_of_each()]
    if "movbe" not in Path("/proc/cpuinfo").read_text():
        instructions = [insn for insn in instructions if insn.operation != "movbe"]
    assemble(instructions, tmp_path)
    rng = random.Random(seed)
    made = (native_case(insn, rng) for insn in instructions for _ in range(2))
    cases = [case for case in made if case is not None]
    assert len(cases) > len(instructions)
    for case, (error, emulated, native) in zip(cases, driver.run(cases), strict=True):
        assert error == OK, f"{case.text}: error {error}"
        assert_same_machine(case, emulated, native)


def filled(pattern: str) -> bytes:
    """A memory block that starts with `pattern` (hexadecimal)."""
    return bytes.fromhex(pattern).ljust(MEMORY_SIZE, b"\0")


def registers(**values: int) -> list[int]:
    """GPR values by their 64-bit name, 0 elsewhere."""
    gpr = [0] * 16
    for name, value in values.items():
        gpr[REGISTERS.index(name[1:])] = value
    return gpr


def test_completed_instruction_clears_rf(driver: Driver) -> None:
    machine = driver.run_one(Case(bytes.fromhex("8b03"), registers(), rflags=RF | 2 | CF))
    assert machine.rflags == 2 | CF
    assert machine.rip == CODE_ADDRESS + 2


@pytest.mark.parametrize(
    ("bits", "rip", "wanted"),
    [
        (64, 0xFFFF_FFFF, 0x1_0000_0001),
        (64, U64, 1),
        (32, 0xFFFF_FFFF, 1),
        (16, 0xFFFF, 0x1_0001),  # beyond the limit of the segment: the next fetch faults
    ],
)
def test_instruction_pointer_wraps_by_mode(
    driver: Driver, bits: int, rip: int, wanted: int
) -> None:
    case = Case(bytes.fromhex("8803"), registers(), bits=bits, rip=rip)
    assert driver.run_one(case).rip == wanted


def test_destination_sizes(driver: Driver) -> None:
    ones = registers(rax=U64)
    memory = filled("8182838485868788")
    for code, wanted in {
        "8a03": 0xFFFF_FFFF_FFFF_FF81,  # mov al, [rbx]
        "8a23": 0xFFFF_FFFF_FFFF_81FF,  # mov ah, [rbx]
        "668b03": 0xFFFF_FFFF_FFFF_8281,
        "8b03": 0x8483_8281,
        "488b03": 0x8887_8685_8483_8281,
        "0fb603": 0x81,  # movzx eax, byte
        "660fb603": 0xFFFF_FFFF_FFFF_0081,
        "0fbe03": 0xFFFF_FF81,  # movsx eax, byte
        "480fbf03": 0xFFFF_FFFF_FFFF_8281,
        "486303": 0xFFFF_FFFF_8483_8281,  # movsxd rax, dword
        "0f38f003": 0x8182_8384,  # movbe eax
    }.items():
        case = Case(bytes.fromhex(code), list(ones), memory=memory)
        assert driver.run_one(case).gpr[RAX] == wanted, code


def test_rep_stops_between_iterations_with_rf(driver: Driver) -> None:
    """The driver loops until RIP moves, so this looks at one iteration through an error."""
    start = registers(rcx=3, rdi=MEMORY_BASE + MEMORY_SIZE - 1, rax=0x55)
    [(error, machine, _)] = driver.run([Case(bytes.fromhex("f3aa"), start)])
    assert error == -5  # the second element is outside the memory block
    assert machine.gpr[RCX] == 2
    assert machine.gpr[RDI] == MEMORY_BASE + MEMORY_SIZE
    assert machine.rip == CODE_ADDRESS
    assert machine.rflags == 2 | RF
    assert machine.memory[-1] == 0x55


@pytest.mark.parametrize(("bits", "code"), [(64, "f3a4"), (64, "67f3aa"), (16, "f3ad")])
def test_rep_with_count_zero_only_moves_on(driver: Driver, bits: int, code: str) -> None:
    keep = {64: 0, 16: 0xFFFF_0000}[bits]
    start = registers(rcx=keep, rsi=1, rdi=2, rax=3)
    machine = driver.run_one(Case(bytes.fromhex(code), start, bits=bits, rflags=2 | RF))
    assert machine.gpr == tuple(start)
    assert machine.rip == CODE_ADDRESS + len(code) // 2
    assert machine.rflags == 2


def test_sixteen_bit_string_wraps_and_uses_segment_bases(driver: Driver) -> None:
    """REP MOVSW in 16-bit code: SI, DI and CX alone count, and offsets wrap at 64 KiB."""
    memory = filled("11223344")
    start = registers(rsi=0xABCD_FFFE, rdi=0x1234_0010, rcx=0x5678_0002)
    case = Case(
        bytes.fromhex("2ef3a5"),
        start,
        bits=16,
        memory=memory,
        memory_base=0x20000,
        segment_base=(0x20000, 0x20000, 0, 0, 0, 0),
        rip=0x100,
    )
    # The first word is at CS:FFFE, outside the memory block.
    [(error, _, _)] = driver.run([case])
    assert error == -5
    case.gpr = registers(rsi=0xABCD_0000, rdi=0x1234_0010, rcx=0x5678_0002)
    machine = driver.run_one(case)
    assert machine.gpr[RSI] == 0xABCD_0004
    assert machine.gpr[RDI] == 0x1234_0014
    assert machine.gpr[RCX] == 0x5678_0000
    assert machine.memory[0x10:0x14] == bytes.fromhex("11223344")
    assert machine.rip == 0x103
    case.code, case.rflags = bytes.fromhex("2eac"), 2 | DF
    machine = driver.run_one(case)
    assert machine.gpr[RSI] == 0xABCD_FFFF
    assert machine.gpr[RAX] == 0x11


def test_linear_addresses_of_strings_wrap_at_4_gib_outside_64_bit_mode(driver: Driver) -> None:
    case = Case(
        bytes.fromhex("ac"),
        registers(rsi=0x2000_0000),
        bits=32,
        memory=filled("77"),
        memory_base=0x1000_0000,
        segment_base=(0, 0, 0, 0xF000_0000, 0, 0),
    )
    assert driver.run_one(case).gpr[RAX] == 0x77


def test_bases_in_64_bit_mode_count_for_fs_and_gs_only(driver: Driver) -> None:
    bases = (1 << 40, 1 << 41, 1 << 42, 1 << 43, 0x1000, 0x2000)
    memory = filled("99")
    for prefix, base in {"": 0, "26": 0, "2e": 0, "64": 0x1000, "65": 0x2000}.items():
        start = registers(rsi=MEMORY_BASE - base)
        case = Case(bytes.fromhex(prefix + "ac"), start, memory=memory, segment_base=bases)
        assert driver.run_one(case).gpr[RAX] == 0x99, prefix
