/* What CPUID tells the guest: this CPU's answers less the features that break determinism
 * (docs/how-recording-works.md), or, in replay, the recorded table. */
#ifndef LVMM_CORE_GUEST_CPUID_H
#define LVMM_CORE_GUEST_CPUID_H

#include "arch/cpu.h"
#include "log_format.h"

/* Builds the table from this CPU. ERR_NO_SPACE when it has more leaves than expected. */
int guest_cpuid_build(void);
/* Takes the table of a recording instead. Checks that this CPU can run it: ERR_UNSUPPORTED. */
int guest_cpuid_use(const struct log_cpuid_entry *entries, u32 count);
u32 guest_cpuid_table(const struct log_cpuid_entry **entries);

struct cpuid_regs guest_cpuid(u32 leaf, u32 subleaf);
/* XCR0 bits that the guest may set. */
u64 guest_xcr0_allowed(void);
/* Whether XSETBV takes this value; else it raises #GP (SDM vol. 1, section 13.3). */
bool guest_xcr0_valid(u64 value);

#endif
