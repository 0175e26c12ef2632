"""The calls that led to an address, found in the memory of a stopped guest.

Where the frame pointers make a chain (RBP points to the caller's RBP, the return address above it),
that chain is followed. Code built without them, as Debian's kernel, leaves only return addresses
on the stack among other things: then all words of the stack that follow a call instruction count,
some of which may be left over from earlier calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lvmm.guest_names import GuestNames
from lvmm.guest_view import CodeView

_SCANNED = 16384  # bytes of the stack; Linux has no more (arch/x86/include/asm/page_64_types.h)
_FRAME_MAX = 65536  # bytes between two frame pointers
_FRAMES_MAX = 32
_LONGEST_CALL = 7  # bytes of CALL with opcode FF, ModRM, SIB and a 32-bit displacement
_RSP = 4  # numbers of registers
_RBP = 5


@dataclass(frozen=True)
class Frame:
    """An address of code. `how` it was found: "rip", "frame pointer" or "stack"."""

    rip: int
    symbol: str | None
    how: str


@dataclass(frozen=True)
class Stack:
    """Where the stack is: RSP and RBP as linear addresses, and how much of it is looked at."""

    pointer: int
    frame: int
    size: int = _SCANNED

    @classmethod
    def of(cls, gpr: tuple[int, ...], base: int, mask: int, *, is_linux: bool) -> Stack:
        """By the general registers, the base of the stack's segment and the width of RSP."""
        pointer = base + (gpr[_RSP] & mask)
        size = _SCANNED - pointer % _SCANNED if is_linux else _SCANNED
        return cls(pointer, base + (gpr[_RBP] & mask), size)


class Backtrace:
    """Walks the stack of a guest that runs `view`'s code."""

    def __init__(self, view: CodeView, names: GuestNames, stack: Stack) -> None:
        self._view = view
        self._names = names
        self._stack = stack
        self._word = view.bits // 8

    def frames(self, rip: int) -> list[Frame]:
        """The frames from RIP outwards."""
        chain = list(self._chain())
        how = "frame pointer"
        if len(chain) < 2:
            chain = list(self._scan())
            how = "stack"
        first = Frame(rip, self._names.describe(rip), "rip")
        return [first, *(Frame(at, self._name(at), how) for at in chain[: _FRAMES_MAX - 1])]

    def _chain(self) -> Iterator[int]:
        """The return addresses along the frame pointers."""
        below, frame = self._stack.pointer, self._stack.frame
        for _ in range(_FRAMES_MAX):
            if not below <= frame < below + _FRAME_MAX or frame % self._word:
                return
            words = self._words(frame, 2)
            if len(words) < 2 or not self._is_return(words[1]):
                return
            yield words[1]
            below, frame = frame + 2 * self._word, words[0]

    def _scan(self) -> Iterator[int]:
        """The words on the stack that are return addresses."""
        for word in self._words(self._stack.pointer, self._stack.size // self._word):
            if self._is_return(word):
                yield word

    def _words(self, linear: int, count: int) -> list[int]:
        data = self._view.space.read(linear, count * self._word)
        whole = len(data) - len(data) % self._word
        return [
            int.from_bytes(data[at : at + self._word], "little")
            for at in range(0, whole, self._word)
        ]

    def _is_return(self, address: int) -> bool:
        """Whether a call instruction ends at the address."""
        if address < _LONGEST_CALL or not self._names.covers(address):
            return False
        code = self._view.space.read(self._view.base + address - _LONGEST_CALL, _LONGEST_CALL)
        return len(code) == _LONGEST_CALL and ends_with_call(code, self._view.bits)

    def _name(self, address: int) -> str | None:
        """Of the call, where the function ends with it because it does not return."""
        at_start = self._names.start(address) == address
        return self._names.describe(address - 1 if at_start else address)


def ends_with_call(code: bytes, bits: int) -> bool:
    """Whether the last bytes of the code are a near CALL (SDM volume 2, CALL)."""
    if code[-3 if bits == 16 else -5] == 0xE8:
        return True
    for size in range(2, len(code) + 1):
        opcode, modrm = code[-size], code[1 - size]
        if opcode == 0xFF and modrm >> 3 & 7 == 2:
            sib = code[2 - size] if size > 2 else 0
            if size == 1 + _modrm_size(modrm, sib, bits):
                return True
    return False


def _modrm_size(modrm: int, sib: int, bits: int) -> int:
    """Bytes of ModRM, SIB and displacement (SDM volume 2, tables 2-1 to 2-3)."""
    mode, register = modrm >> 6, modrm & 7
    if mode == 3:
        return 1
    if bits == 16:
        return 1 + (2 if mode == 2 or (mode == 0 and register == 6) else mode)
    has_sib = register == 4
    if mode == 0:
        far = register == 5 or (has_sib and sib & 7 == 5)
        return 1 + has_sib + (4 if far else 0)
    return 1 + has_sib + (1 if mode == 1 else 4)
