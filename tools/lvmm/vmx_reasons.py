"""Names of VM-exit reasons (SDM vol. 3D, appendix C), those that the monitor meets."""

_NAMES = {
    0: "exception or NMI",
    1: "external interrupt",
    2: "triple fault",
    7: "interrupt window",
    10: "CPUID",
    12: "HLT",
    13: "INVD",
    15: "RDPMC",
    16: "RDTSC",
    18: "VMCALL",
    28: "control-register access",
    29: "MOV DR",
    30: "I/O instruction",
    31: "RDMSR",
    32: "WRMSR",
    37: "monitor trap flag",
    48: "EPT violation",
    51: "RDTSCP",
    52: "preemption timer",
    54: "WBINVD",
    55: "XSETBV",
    57: "RDRAND",
    61: "RDSEED",
}


def reason_name(reason: int) -> str:
    """The name of a basic reason."""
    return _NAMES.get(reason, f"reason {reason}")
