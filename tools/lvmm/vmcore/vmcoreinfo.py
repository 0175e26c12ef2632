"""VMCOREINFO: what a Linux kernel keeps in memory to tell readers of its crash dumps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lvmm.guest_view import PAGE, AddressSpace, Mode, Physical
from lvmm.vmcore.elf_core import Note

_START = b"OSRELEASE="
_BLOCK = 1 << 20
# Where x86-64 Linux links its text (arch/x86/include/asm/page_64_types.h).
_TEXT_BASE = 0xFFFF_FFFF_8000_0000


class VmcoreInfo:
    """The lines `NAME=VALUE` of a kernel."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        lines = text.decode("utf-8", "replace").splitlines()
        self._values = dict(line.split("=", 1) for line in lines if "=" in line)

    @property
    def release(self) -> str:
        """The kernel's release, as `uname -r` gives it."""
        return self._values.get("OSRELEASE", "")

    def symbol(self, name: str) -> int | None:
        """The address of a symbol."""
        return self._number(f"SYMBOL({name})", 16)

    def number(self, name: str) -> int | None:
        """The value of one of the kernel's numbers."""
        return self._number(f"NUMBER({name})", 10)

    def kernel_space(self, memory: Physical) -> AddressSpace | None:
        """The kernel's own address space; None when it is not where the text says."""
        top = self.symbol("swapper_pg_dir")
        base = self.number("phys_base")
        start = self.symbol("_stext")
        if top is None or base is None or start is None:
            return None
        mode = Mode.LEVEL5 if self.number("pgtable_l5_enabled") else Mode.LEVEL4
        space = AddressSpace(memory, mode, top - _TEXT_BASE + base)
        return space if space.translate(start) == start - _TEXT_BASE + base else None

    def note(self) -> Note:
        """The note of a core."""
        return Note("VMCOREINFO", 0, self.text)

    def _number(self, key: str, base: int) -> int | None:
        try:
            return int(self._values[key], base)
        except (KeyError, ValueError):
            return None


def find_vmcoreinfo(memory: Physical, ranges: Sequence[tuple[int, int]]) -> VmcoreInfo | None:
    """That of the kernel in the RAM `ranges`; sure, because the page tables that it names agree."""
    for page in _candidates(memory, ranges):
        info = VmcoreInfo(page.partition(b"\0")[0])
        if info.kernel_space(memory) is not None:
            return info
    return None


def _candidates(memory: Physical, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Pages that begin like VMCOREINFO."""
    for start, end in ranges:
        for at in range(start, end, _BLOCK):
            block = memory.read(at, min(_BLOCK, end - at))
            hit = block.find(_START)
            while hit >= 0:
                if hit % PAGE == 0:
                    yield block[hit : hit + PAGE]
                hit = block.find(_START, hit + 1)
