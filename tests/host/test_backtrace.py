"""Calls found in made-up stacks; call instructions as the assembler makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lvmm.backtrace import Backtrace, Stack, ends_with_call
from lvmm.guest_names import GuestNames
from lvmm.guest_view import AddressSpace, CodeView, Mode
from lvmm.symbols import SymbolTable

pytestmark = pytest.mark.host

CALLS = {
    16: (
        "call .+100",
        "call *%bx",
        "call *(%si)",
        "call *4(%di)",
        "call *0x1234",
        "call *0x123(%bp)",
    ),
    32: (
        *("call .+1000", "call *%eax", "call *(%ebx)", "call *8(%ebp)", "call *0x12345(%esi)"),
        *("call *(%esp)", "call *4(%esp)", "call *0x12345(,%ecx,4)", "call *0x12345"),
    ),
    64: (
        *("call .+1000", "call *%rax", "call *%r12", "call *(%rbx)", "call *8(%r13)"),
        *("call *0x1234(%rip)", "call *0x12345(,%rcx,8)", "call *(%r12)", "call *0x123(%rsp)"),
    ),
}
OTHERS = ("ret", "jmp *%{a}ax", "push 8(%{a}bp)", "mov %{a}ax, %{a}bx", "incl (%{a}bx)")


def assemble(folder: Path, bits: int, text: str) -> bytes:
    source = folder / "code.S"
    source.write_text(f".code{bits}\n{text}\n")
    output = folder / "code.bin"
    width = "-m64" if bits == 64 else "-m32"
    subprocess.run(
        [
            *("gcc", width, "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"),
            *("-Wl,--oformat=binary,-Ttext=0,-e0", "-o", str(output), str(source)),
        ],
        check=True,
    )
    return output.read_bytes()


@pytest.mark.parametrize(
    ("bits", "text"), [(bits, text) for bits, texts in CALLS.items() for text in texts]
)
def test_calls_are_recognised(tmp_path: Path, bits: int, text: str) -> None:
    # What is before it must not matter: NOPs, as long as the longest call.
    assert ends_with_call(b"\x90" * 7 + assemble(tmp_path, bits, text), bits)


@pytest.mark.parametrize("text", OTHERS)
@pytest.mark.parametrize("bits", [32, 64])
def test_other_instructions_are_not(tmp_path: Path, bits: int, text: str) -> None:
    text = text.format(a="r" if bits == 64 else "e")
    assert not ends_with_call(b"\x90" * 7 + assemble(tmp_path, bits, text), bits)


CODE = 0x1000
STACK = 0x8000
# f calls g calls h: the addresses after each call.
IN_F, IN_G = CODE + 0x25, CODE + 0x45
NAMES = GuestNames(
    SymbolTable([(CODE + 0x20, "f"), (CODE + 0x40, "g"), (CODE + 0x60, "h")], CODE, CODE + 0x80)
)


class Memory:
    """64 KiB with calls before IN_F and IN_G."""

    def __init__(self, words: dict[int, int]) -> None:
        self.data = bytearray(0x10000)
        for after in (IN_F, IN_G):
            self.data[after - 5] = 0xE8
        for address, word in words.items():
            self.data[address : address + 4] = word.to_bytes(4, "little")

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])


def calls(
    words: dict[int, int], rbp: int, names: GuestNames = NAMES
) -> list[tuple[int, str | None, str]]:
    view = CodeView(AddressSpace(Memory(words), Mode.NONE), 32)
    frames = Backtrace(view, names, Stack(STACK, rbp)).frames(CODE + 0x61)
    return [(frame.rip, frame.symbol, frame.how) for frame in frames]


def test_frame_pointers_are_followed() -> None:
    words = {
        STACK + 4: IN_F,  # left over from an earlier call
        STACK + 0x10: STACK + 0x20,
        STACK + 0x14: IN_G,
        STACK + 0x20: 0,
        STACK + 0x24: IN_F,
    }
    assert calls(words, STACK + 0x10) == [
        (CODE + 0x61, "h+0x1", "rip"),
        (IN_G, "g+0x5", "frame pointer"),
        (IN_F, "f+0x5", "frame pointer"),
    ]


@pytest.mark.parametrize("rbp", [0, 77, STACK + 0x10, STACK + 0x100000, 1 << 63])
def test_without_frame_pointers_the_stack_is_searched(rbp: int) -> None:
    words = {
        STACK + 8: IN_G,
        STACK + 12: IN_G + 1,  # no call before it
        STACK + 0x30: IN_F,
        STACK + 0x34: CODE + 0x90,  # outside of the image
        STACK - 4: IN_F,  # below the stack
    }
    assert calls(words, rbp) == [
        (CODE + 0x61, "h+0x1", "rip"),
        (IN_G, "g+0x5", "stack"),
        (IN_F, "f+0x5", "stack"),
    ]


def test_a_loop_of_frame_pointers_ends() -> None:
    words = {STACK + 0x10: STACK + 0x10, STACK + 0x14: IN_G}
    assert [how for _, _, how in calls(words, STACK + 0x10)] == ["rip", "stack"]


def test_a_call_that_does_not_return_is_in_its_own_function() -> None:
    names = GuestNames(SymbolTable([(CODE + 0x20, "f"), (IN_F, "next")], CODE, CODE + 0x80))
    assert calls({STACK: IN_F}, 0, names)[1][1] == "f+0x4"


def test_stack_of_linux_ends_where_the_threads_does() -> None:
    gpr = (0, 0, 0, 0, 0xFFFF_C900_0000_3F00, 0x10) + (0,) * 10
    stack = Stack.of(gpr, 0, (1 << 64) - 1, is_linux=True)
    assert (stack.pointer, stack.size) == (0xFFFF_C900_0000_3F00, 0x100)


def test_stack_of_real_mode_is_in_its_segment() -> None:
    stack = Stack.of((0, 0, 0, 0, 0xFFFF_1000, 0xFFFF_1010), 0x20000, 0xFFFF, is_linux=False)
    assert (stack.pointer, stack.frame) == (0x21000, 0x21010)
