"""Registers of the debug link under the names that the gdb server uses."""

from __future__ import annotations

from lvmm.gdb.target import CODE_ACCESS, REGISTER_NAMES
from lvmm.link import Register, Registers

# In the order of their encoding (SDM volume 2, table 2-2), which is the link's.
_GENERAL = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
_SEGMENTS = ("es", "cs", "ss", "ds", "fs", "gs")
_SAME_NAME = (
    *("rip", "rflags", "kernel_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer", "dr6", "dr7"),
)

# By which number each register is written; what the link cannot write is not in it.
WRITABLE = {
    name: Register[name.upper()] for name in REGISTER_NAMES if name.upper() in Register.__members__
}


def by_name(registers: Registers) -> dict[str, int]:
    """The values of all of lvmm.gdb.target.REGISTER_NAMES."""
    values = dict(zip(_GENERAL, registers.gpr, strict=True))
    values |= {name: getattr(registers, name) for name in _SAME_NAME}
    for name, segment in zip(_SEGMENTS, registers.segments, strict=False):
        values[name] = segment.selector
        values[f"{name}_base"] = segment.base
    values |= {f"dr{index}": value for index, value in enumerate(registers.dr)}
    values[CODE_ACCESS] = registers.segments[_SEGMENTS.index("cs")].attributes
    return values
