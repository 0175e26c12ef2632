"""The instruction that accesses a device is what memory and page tables say now, whatever of it was
decoded before (core/guest_insn.c)."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from tests.host.cbuild import build

MEMORY, PAGE = 0x10000000, 4096
TABLE = 3  # present, writable
ACCESSED = 1 << 5
PCIDE, LA57 = 1 << 17, 1 << 12
PAE = 1 << 5
RIP = 0xFFFFFFFF81234FE8  # page offset FE8: 16 bytes and 8 more are on its page
INDEXES = [RIP >> shift & 511 for shift in (39, 30, 21, 12)]

# Of 2, 3, 7 and 11 bytes.
MOV_TO_EAX = bytes.fromhex("8b00")
MOV_RBX = bytes.fromhex("48890b")
MOV_IMMEDIATE = bytes.fromhex("c780b0000000") + bytes(4)
AND_IMMEDIATE = bytes.fromhex("48818008010000ff00ff00")
INSTRUCTIONS = (MOV_TO_EAX, MOV_RBX, MOV_IMMEDIATE, AND_IMMEDIATE)


@dataclass(frozen=True)
class Answer:
    """What guest_insn() says, what is right, and how many reads of memory it took."""

    told: str
    right: str
    reads: int


def page(number: int) -> int:
    return MEMORY + number * PAGE


def store(gpa: int, data: bytes) -> list[str]:
    """Whole words; what is behind the data becomes NOPs."""
    padded = data + b"\x90" * (-len(data) % 8)
    return [
        f"store {gpa + at:x} {int.from_bytes(padded[at : at + 8], 'little'):x}"
        for at in range(0, len(padded), 8)
    ]


def entry(level: int, table: int, target: int, flags: int = TABLE) -> str:
    """The entry that translates RIP in a table of this level, 0: the top."""
    return f"store {page(table) + 8 * INDEXES[level]:x} {page(target) | flags:x}"


# Tables in pages 0 to 3, code in page 8; the same once more in pages 4 to 7 and 9.
SETUP = [
    *(entry(level, level, level + 1) for level in range(3)),
    entry(3, 3, 8),
    *(entry(level, level + 4, level + 5) for level in range(3)),
    entry(3, 7, 9),
    *store(page(8) + RIP % PAGE, MOV_IMMEDIATE),
    *store(page(9) + RIP % PAGE, AND_IMMEDIATE),
    f"cr3 {page(0):x}",
    f"cr4 {PAE:x}",
    f"rip {RIP:x}",
]


def run(lines: Iterable[str]) -> list[Answer]:
    sources = tuple(
        f"hypervisor/core/{name}.c"
        for name in ("guest_insn", "guest_linear", "guest_paging", "decode")
    )
    result = subprocess.run(
        [build("guest_insn_driver", ("tests/host/c/guest_insn_driver.c", *sources))],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = [line.split(";") for line in result.stdout.splitlines()]
    return [Answer(told, right, int(reads)) for told, right, reads in found]


def test_what_is_unchanged_is_not_read_again() -> None:
    first, second, third = run([*SETUP, "ask", "ask", f"cr3 {page(0) | 5:x}", "ask"])
    assert first.told == first.right != "none"
    assert first.reads > 0
    assert (second.told, second.reads) == (first.told, 0)
    assert (third.told, third.reads) == (first.told, 0), "CR3's low bits are no address"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(store(page(8) + RIP % PAGE, MOV_TO_EAX), id="code"),
        pytest.param([entry(3, 3, 9)], id="page"),
        pytest.param([entry(2, 2, 7)], id="table"),
        pytest.param([entry(1, 1, 6)], id="directory"),
        pytest.param([entry(0, 0, 5)], id="pointers"),
        pytest.param([f"cr3 {page(4):x}"], id="cr3"),
    ],
)
def test_what_has_changed_is_seen(change: list[str]) -> None:
    before, after, again = run([*SETUP, "ask", *change, "ask", "ask"])
    assert after.told == after.right != before.told
    assert (again.told, again.reads) == (after.told, 0)


@pytest.mark.parametrize(
    "change",
    [
        [entry(3, 3, 8, 0)],
        [entry(0, 0, 1, 0)],
        [f"cr3 {MEMORY - PAGE:x}"],
        [f"cr4 {PAE | LA57:x}"],
        store(page(8) + RIP % PAGE, bytes.fromhex("0f0b")),
    ],
    ids=["not present", "no top entry", "no memory", "five levels", "UD2"],
)
def test_what_is_gone_is_not_told(change: list[str]) -> None:
    before, after = run([*SETUP, "ask", *change, "ask"])
    assert before.told != "none"
    assert after.told == after.right == "none"


def test_an_accessed_bit_is_a_change() -> None:
    _, after, again = run([*SETUP, "ask", entry(3, 3, 8, TABLE | ACCESSED), "ask", "ask"])
    assert after.told == after.right
    assert after.reads > 0
    assert again.reads == 0


@pytest.mark.parametrize("offset", range(PAGE - 16, PAGE - 1, 2))
def test_the_end_of_a_page(offset: int) -> None:
    """The next page is not mapped: instructions that end before it are found all the same."""
    rip = RIP & -PAGE | offset
    code = store(page(8) + (offset & -8), b"\x90" * (offset % 8) + MOV_TO_EAX + b"\x90" * 5)
    inside = [line for line in code if int(line.split()[1], 16) < page(9)]
    answers = run([*SETUP, *inside, f"rip {rip:x}", "ask", "ask"])
    assert all(answer.told == answer.right != "none" for answer in answers)


def test_any_changes() -> None:
    """Entries, code and registers change at random between questions at a few addresses."""
    rng = random.Random(7)
    rips = [RIP, RIP - 0x10, RIP - 0x200, RIP & 0x7FFFFFFFFFFF]
    lines = [*SETUP]
    for _ in range(4000):
        level, tables = rng.randrange(4), rng.choice((0, 4))
        target = rng.choice((8, 9)) if level == 3 else rng.choice((0, 4)) + level + 1
        at = page(rng.choice((8, 9))) + rng.choice(rips) % PAGE
        lines += rng.choice(
            [
                [
                    entry(
                        level,
                        tables + level,
                        target,
                        rng.choice((TABLE, TABLE, TABLE | ACCESSED, 0)),
                    )
                ],
                store(at, rng.choice(INSTRUCTIONS)),
                [f"cr3 {page(rng.choice((0, 4))):x}"],
                [f"cr4 {rng.choice((PAE, PAE | PCIDE)):x}"],
                [f"rip {rng.choice(rips):x}"],
                [f"rip {RIP:x}"],
                [],
                [],
            ]
        )
        lines.append("ask")
    answers = run(lines)
    assert all(answer.told == answer.right for answer in answers)
    assert sum(answer.reads == 0 and answer.told != "none" for answer in answers) > 400
