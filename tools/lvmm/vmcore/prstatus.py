"""The NT_PRSTATUS note: a CPU's registers as Linux writes them into cores of x86-64.

struct elf_prstatus: 112 bytes of signal, process and times, of which only the process number is of
use here, then 27 registers of 8 bytes, and whether there are FPU registers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from lvmm.logs.codec import GPR_NAMES
from lvmm.logs.layout import RFLAGS_UNCHECKED, FinalState, SegmentIndex
from lvmm.vmcore.elf_core import Note

_NT_PRSTATUS = 1
_PRSTATUS = struct.Struct("<32xI76x27QI4x")
_CPU = 1  # the thread's number in gdb; gdb takes 0 for no thread

# struct user_regs_struct
_ORDER = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx"),
    *("rsi", "rdi", "orig_rax", "rip", "cs", "rflags", "rsp", "ss", "fs_base", "gs_base"),
    *("ds", "es", "fs", "gs"),
)
_NO_SYSTEM_CALL = (1 << 64) - 1


def prstatus(registers: Mapping[str, int]) -> Note:
    """The note; `registers` by the names that the gdb server has for them.

    RF counts as 0, as in the log: an exit may set it in what it saves.
    """
    values = {"orig_rax": _NO_SYSTEM_CALL, **registers}
    values["rflags"] &= ~RFLAGS_UNCHECKED
    return Note("CORE", _NT_PRSTATUS, _PRSTATUS.pack(_CPU, *(values[n] for n in _ORDER), 0))


def end_registers(state: FinalState) -> dict[str, int]:
    """The registers of a recording's END event, by name."""
    values = dict(zip(GPR_NAMES, state.gpr, strict=True))
    values |= {"rip": state.rip, "rflags": state.rflags, "cr0": state.cr0, "cr3": state.cr3}
    values |= {"cr4": state.cr4, "efer": state.efer}
    for index in SegmentIndex:
        segment = state.segments[index]
        values[index.name.lower()] = segment.selector
        values[f"{index.name.lower()}_base"] = segment.base
    return values
