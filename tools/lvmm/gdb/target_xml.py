"""target.xml: the description of the registers that gdb and LLDB ask for.

Format: gdb manual, appendix G. Bits of the flags: SDM volume 1, 3.4.3 and 10.2.3; volume 3, 2.2.1
(EFER), 2.5 (CR0, CR4) and 18.2 (DR6, DR7).
"""

from __future__ import annotations

import functools

from lvmm.gdb.registers import AVX, CORE, SEGMENTS, SSE, SYSTEM, Description, Register

# Type: bytes, and the bits by name.
_FLAGS = {
    "i386_eflags": (
        4,
        "CF:0 :1 PF:2 AF:4 ZF:6 SF:7 TF:8 IF:9 DF:10 OF:11 IOPL:12-13 NT:14 RF:16 VM:17 "
        "AC:18 VIF:19 VIP:20 ID:21",
    ),
    "i386_mxcsr": (
        4,
        "IE:0 DE:1 ZE:2 OE:3 UE:4 PE:5 DAZ:6 IM:7 DM:8 ZM:9 OM:10 UM:11 PM:12 RC:13-14 FZ:15",
    ),
    "cr0": (
        8,
        "PE:0 MP:1 EM:2 TS:3 ET:4 NE:5 WP:16 AM:18 NW:29 CD:30 PG:31",
    ),
    "cr4": (
        8,
        "VME:0 PVI:1 TSD:2 DE:3 PSE:4 PAE:5 MCE:6 PGE:7 PCE:8 OSFXSR:9 OSXMMEXCPT:10 "
        "UMIP:11 LA57:12 VMXE:13 SMXE:14 FSGSBASE:16 PCIDE:17 OSXSAVE:18 SMEP:20 "
        "SMAP:21 PKE:22 CET:23 PKS:24",
    ),
    "efer": (
        8,
        "SCE:0 LME:8 LMA:10 NXE:11",
    ),
    "dr6": (
        8,
        "B0:0 B1:1 B2:2 B3:3 BD:13 BS:14 BT:15 RTM:16",
    ),
    "dr7": (
        8,
        "L0:0 G0:1 L1:2 G1:3 L2:4 G2:5 L3:6 G3:7 LE:8 GE:9 RTM:11 GD:13 RW0:16-17 "
        "LEN0:18-19 RW1:20-21 LEN1:22-23 RW2:24-25 LEN2:26-27 RW3:28-29 LEN3:30-31",
    ),
}

# The parts of gdb's type for an SSE register: union member, element type, elements.
_VECTORS = (
    ("v4_float", "ieee_single", 4),
    ("v2_double", "ieee_double", 2),
    ("v16_int8", "int8", 16),
    ("v8_int16", "int16", 8),
    ("v4_int32", "int32", 4),
    ("v2_int64", "int64", 2),
)
_FEATURES = (CORE, SSE, AVX, SEGMENTS, SYSTEM)


@functools.cache
def target_xml(description: Description) -> bytes:
    """The whole document: one file, without includes."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE target SYSTEM "gdb-target.dtd">',
        "<target>",
        f"<architecture>{description.architecture}</architecture>",
    ]
    for feature in _FEATURES:
        registers = [part for part in description.registers if part.feature == feature]
        if not registers:
            continue
        lines.append(f'<feature name="{feature}">')
        for name in dict.fromkeys(register.type for register in registers):
            lines += _type(name)
        lines += map(_register, registers)
        lines.append("</feature>")
    lines.append("</target>\n")
    return "\n".join(lines).encode()


def _register(register: Register) -> str:
    return (
        f'<reg name="{register.name}" bitsize="{register.bits}" type="{register.type}"'
        f' regnum="{register.number}" group="{register.group}"/>'
    )


def _type(name: str) -> list[str]:
    """The definition of a type, where gdb does not have it."""
    if name == "vec128":
        vectors = [
            f'<vector id="{member}" type="{element}" count="{count}"/>'
            for member, element, count in _VECTORS
        ]
        members = [f'<field name="{member}" type="{member}"/>' for member, _, _ in _VECTORS]
        members.append('<field name="uint128" type="uint128"/>')
        return [*vectors, '<union id="vec128">', *members, "</union>"]
    if name not in _FLAGS:
        return []
    size, fields = _FLAGS[name]
    lines = [f'<flags id="{name}" size="{size}">']
    for field in fields.split():
        member, _, bits = field.partition(":")
        first, _, last = bits.partition("-")
        lines.append(f'<field name="{member}" start="{first}" end="{last or first}"/>')
    return [*lines, "</flags>"]
