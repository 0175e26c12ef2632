"""Instructions around an address of guest code, before it and after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lvmm.guest_view import CodeView

_LONGEST = 15  # bytes of an x86 instruction
_SYMBOL_REACH = 8192  # how far before RIP a symbol may begin to decode from there
_TARGET_PREFIXES = ("call", "j", "loop")


@dataclass(frozen=True)
class Line:
    """An instruction; `current` is the one at RIP, `target` names where a jump or call goes."""

    address: int
    code: bytes
    text: str
    current: bool
    target: str | None


@dataclass(frozen=True)
class Listing:
    """`sure` is False where the instructions before RIP may begin elsewhere than shown."""

    bits: int
    lines: list[Line]
    sure: bool


class Disassembler:
    """Decodes 16-, 32- or 64-bit code. `name_of` gives the symbol of an address, or None."""

    def __init__(self, bits: int, name_of: Callable[[int], str | None]) -> None:
        """Raises ImportError where capstone is not installed."""
        import capstone  # type: ignore[import-untyped]

        modes = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}
        self._capstone = capstone.Cs(capstone.CS_ARCH_X86, modes[bits])
        self._bits = bits
        self._name_of = name_of

    def around(
        self, view: CodeView, rip: int, symbol_start: int | None, before: int = 5, after: int = 5
    ) -> Listing:
        """`before` instructions, the one at RIP and `after` more, as far as code is mapped there.

        `symbol_start`, where known, is an address at which an instruction begins.
        """
        chain: list[Line] = []
        sure = symbol_start is not None and 0 <= rip - symbol_start <= _SYMBOL_REACH
        if symbol_start is not None and sure:
            chain = self._leading_to(view, symbol_start, rip)
            sure = bool(chain) or symbol_start == rip
        if not chain and symbol_start != rip:
            chain = self._best_chain(view, rip, before)
        rest = view.space.read(view.base + rip, (after + 1) * _LONGEST)
        return Listing(
            self._bits, chain[-before:] + self.from_bytes(rest, rip, after + 1).lines, sure
        )

    def from_bytes(self, code: bytes, rip: int, count: int = 16) -> Listing:
        """The first `count` instructions of `code`, which is at RIP."""
        lines = list(self._decode(code, rip, rip))[:count]
        return Listing(self._bits, lines, True)

    def _best_chain(self, view: CodeView, rip: int, count: int) -> list[Line]:
        """The longest run of instructions that ends where RIP begins.

        x86 code read from a wrong start soon falls into step with the right one, so that the
        instructions next to RIP are mostly right.
        """
        best: list[Line] = []
        for distance in range(min((count + 1) * _LONGEST, rip), 0, -1):
            chain = self._leading_to(view, rip - distance, rip)
            if len(chain) > len(best):
                best = chain
        return best

    def _leading_to(self, view: CodeView, start: int, rip: int) -> list[Line]:
        """The instructions from `start` to RIP; empty when none begins at RIP."""
        code = view.space.read(view.base + start, rip - start)
        if len(code) < rip - start:
            return []
        lines = list(self._decode(code, start, rip))
        if not lines or lines[-1].address + len(lines[-1].code) != rip:
            return []
        return lines

    def _decode(self, code: bytes, address: int, rip: int) -> Iterator[Line]:
        at = 0
        for start, size, mnemonic, operands in self._capstone.disasm_lite(code, address):
            target = None
            if mnemonic.startswith(_TARGET_PREFIXES) and operands.startswith("0x"):
                target = self._name_of(int(operands, 16))
            text = f"{mnemonic} {operands}".strip()
            yield Line(start, code[at : at + size], text, start == rip, target)
            at += size
