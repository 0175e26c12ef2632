#include "arch/tsc.h"
#include "arch/cpu.h"

u64 tsc_frequency(void)
{
    struct cpuid_regs r = cpuid(0, 0);
    u32 last = r.eax;

    if (last >= 0x15) {
        r = cpuid(0x15, 0);
        if (r.eax != 0 && r.ecx != 0)
            return (u64)r.ecx * r.ebx / r.eax;
    }
    return last >= 0x16 ? (u64)(cpuid(0x16, 0).eax & 0xffff) * 1000000 : 0;
}
