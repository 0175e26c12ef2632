"""Reads ELF cores with pyelftools, for the tests."""

from __future__ import annotations

import struct
from pathlib import Path

from elftools.elf.elffile import ELFFile

# struct user_regs_struct of x86-64 Linux.
REGISTERS = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx"),
    *("rsi", "rdi", "orig_rax", "rip", "cs", "rflags", "rsp", "ss", "fs_base", "gs_base"),
    *("ds", "es", "fs", "gs"),
)
_PR_REG = 112  # struct elf_prstatus, pr_reg


class ElfCore:
    """A core file: notes by name, and memory by linear or physical address."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        elf = ELFFile(self._file)
        assert elf["e_type"] == "ET_CORE"
        assert elf["e_machine"] == "EM_X86_64"
        self.count = elf.num_segments()
        segments = list(elf.iter_segments())
        self.notes = {
            note["n_name"]: note["n_descdata"]
            for segment in segments
            if segment["p_type"] == "PT_NOTE"
            for note in segment.iter_notes()
        }
        self.alignments = {s["p_align"] for s in segments if s["p_type"] == "PT_LOAD"}
        self.loads = [
            (s["p_vaddr"], s["p_paddr"], s["p_filesz"], s["p_offset"])
            for s in segments
            if s["p_type"] == "PT_LOAD"
        ]

    def registers(self) -> dict[str, int]:
        """Those of NT_PRSTATUS."""
        values = struct.unpack_from("<27Q", self.notes["CORE"], _PR_REG)
        return dict(zip(REGISTERS, values, strict=True))

    def read(self, linear: int, size: int) -> bytes:
        """Memory at a linear address; empty where there is none."""
        return self._read(0, linear, size)

    def physical(self, address: int, size: int) -> bytes:
        """Memory at a physical address; empty where there is none."""
        return self._read(1, address, size)

    def _read(self, which: int, address: int, size: int) -> bytes:
        for load in self.loads:
            start, length, offset = load[which], load[2], load[3]
            if start <= address and address + size <= start + length:
                self._file.seek(offset + address - start)
                return self._file.read(size)
        return b""

    def close(self) -> None:
        self._file.close()
