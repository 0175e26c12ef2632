/* RDMSR and WRMSR of what is not plain guest state. */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "core/guest_time.h"
#include "core/handlers.h"
#include "lib/printk.h"
#include "replay/session.h"

#define REFUSALS_TOLD 8 /* a guest may try them all */

struct msr_range {
    u32 first, last; /* in each list in ascending order */
};

/* Not there for the guest: virtualization, counters, x2APIC, microcode loading, and what writes to
 * memory by itself (processor trace, the debug store). */
static const struct msr_range hidden[] = {
    {MSR_FEATURE_CONTROL, MSR_FEATURE_CONTROL},
    {0x79, 0x79},
    {MSR_PMC0, MSR_PMC0 + 7},
    {MSR_PERFEVTSEL0, MSR_PERFEVTSEL0 + 7},
    {0x309, 0x30b},
    {MSR_PERF_CAPABILITIES, MSR_PERF_CAPABILITIES},
    {0x38d, MSR_PERF_GLOBAL_OVF_CTRL},
    {MSR_PEBS_FIRST, MSR_PEBS_LAST},
    {MSR_VMX_BASIC, 0x49f},
    {MSR_A_PMC0, MSR_A_PMC0 + 7},
    {MSR_RTIT_FIRST, MSR_RTIT_LAST},
    {MSR_DS_AREA, MSR_DS_AREA},
    {MSR_X2APIC_FIRST, MSR_X2APIC_LAST},
};

/* What a guest that is being recorded may write: what has no effect on its instructions but on what
 * is logged. In a replay it is not written. (SDM vol. 4, table 2-2.) */
static const struct msr_range harmless[] = {
    {MSR_TSC, MSR_TSC},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST},
    {0x48, 0x49}, /* SPEC_CTRL, PRED_CMD */
    {0x4e, 0x4e}, /* PPIN_CTL */
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID},
    {0xe2, 0xe2},   /* PKG_CST_CONFIG_CONTROL */
    {0xe7, 0xe8},   /* MPERF, APERF */
    {0x10b, 0x10b}, /* FLUSH_CMD */
    {0x10f, 0x10f}, /* TSX_FORCE_ABORT */
    {0x122, 0x123}, /* TSX_CTRL: the guest has no TSX; MCU_OPT_CTRL */
    {0x17a, 0x17b}, /* MCG_STATUS, MCG_CTL */
    {0x199, 0x19c}, /* PERF_CTL, CLOCK_MODULATION, THERM_INTERRUPT, THERM_STATUS */
    {0x1a4, 0x1a4}, /* the prefetchers */
    {0x1ad, 0x1b2}, /* turbo ratio, ENERGY_PERF_BIAS, PACKAGE_THERM_STATUS and _INTERRUPT */
    {0x1fc, 0x1fc}, /* POWER_CTL */
    {0x280, 0x29f}, /* MC0_CTL2 and so on */
    {0x400, 0x47f}, /* MC0_CTL and so on */
    {0x610, 0x610}, /* PKG_POWER_LIMIT */
    {0x618, 0x618}, /* DRAM_POWER_LIMIT */
    {0x620, 0x620}, /* UNCORE_RATIO_LIMIT */
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE},
    {0x770, 0x774}, /* HWP */
    {0xc8d, 0xd8f}, /* cache and bandwidth allocation */
    {0xda0, 0xda0}, /* XSS: the guest has no XSAVES */
};

/* They change what instructions do: CPUID at CPL 3, accesses that are split over cache lines. A
 * guest that is being recorded finds them as they are. */
static const struct msr_range kept_in_record[] = {
    {0x33, 0x33},   /* TEST_CTRL */
    {0x140, 0x140}, /* MISC_FEATURES_ENABLES */
};

static bool is_in(u32 index, const struct msr_range *ranges, size_t count)
{
    size_t from = 0;

    while (from < count) {
        size_t middle = (from + count) / 2;

        if (index < ranges[middle].first)
            count = middle;
        else if (index > ranges[middle].last)
            from = middle + 1;
        else
            return true;
    }
    return false;
}

static bool is_hidden(u32 index)
{
    return is_in(index, hidden, ARRAY_SIZE(hidden));
}

static int fault(struct vcpu *vcpu)
{
    hv_inject_exception(vcpu, VECTOR_GP, true, 0);
    return 0;
}

int handle_rdmsr(struct vcpu *vcpu, const struct exit *exit)
{
    u32 index = (u32)vcpu->regs.gpr[GPR_RCX];
    struct log_event e;
    u64 value = 0;
    int error;

    if (is_hidden(index))
        return fault(vcpu);
    session_event(&e, LOG_EVENT_RDMSR);
    e.payload.rdmsr = (struct log_rdmsr){.index = index};
    if (!session_replaying()) {
        e.payload.rdmsr.faulted = rdmsr_safe(index, &value) < 0;
        e.payload.rdmsr.value = e.payload.rdmsr.faulted ? 0 : value;
        if (index == MSR_MISC_ENABLE)
            e.payload.rdmsr.value &= ~MISC_ENABLE_PERFMON_AVAILABLE;
    }
    error = session_input(vcpu, &e);
    if (error < 0)
        return error;
    if (e.payload.rdmsr.faulted)
        return fault(vcpu);
    if (index == MSR_TSC)
        guest_time_set(vcpu, e.payload.rdmsr.value);
    vcpu->regs.gpr[GPR_RAX] = (u32)e.payload.rdmsr.value;
    vcpu->regs.gpr[GPR_RDX] = e.payload.rdmsr.value >> 32;
    complete(vcpu, exit);
    return 0;
}

/* The monitor depends on the memory types, on where the local APIC is and on the no-execute bit of
 * page tables, which IA32_MISC_ENABLE can take away: they stay. */
static bool is_kept(u32 index)
{
    return index == MSR_APIC_BASE || index == MSR_MTRR_DEF_TYPE || index == MSR_DEBUGCTL ||
           index == MSR_MISC_ENABLE ||
           (index >= MSR_MTRR_PHYSBASE0 && index < MSR_MTRR_FIX64K_00000 + 0x20) ||
           (session_recording() && is_in(index, kept_in_record, ARRAY_SIZE(kept_in_record)));
}

static void tell_refused(u32 index)
{
    static unsigned int told;

    if (told++ < REFUSALS_TOLD)
        printk(
            "lvmm: the guest writes the MSR %x: refused, a replay may not be the same after it\n",
            index);
}

/* Whether the machine takes the value. */
static bool write_to_machine(u32 index, u64 value)
{
    if (is_kept(index))
        return true;
    if (session_recording() && !is_in(index, harmless, ARRAY_SIZE(harmless))) {
        tell_refused(index);
        return false;
    }
    return wrmsr_safe(index, value) == 0;
}

/* Whether the CPU accepts a value is an input too: it is logged as an RDMSR of that register
 * without a value. The TSC deadline, written at every timer re-arm, always is accepted. */
int handle_wrmsr(struct vcpu *vcpu, const struct exit *exit)
{
    u32 index = (u32)vcpu->regs.gpr[GPR_RCX];
    u64 value = (u32)vcpu->regs.gpr[GPR_RAX] | vcpu->regs.gpr[GPR_RDX] << 32;
    struct log_event e;
    int error;

    if (is_hidden(index))
        return fault(vcpu);
    session_event(&e, LOG_EVENT_RDMSR);
    e.payload.rdmsr = (struct log_rdmsr){.index = index};
    if (!session_replaying())
        e.payload.rdmsr.faulted = !write_to_machine(index, value);
    if (index != MSR_TSC_DEADLINE) {
        error = session_input(vcpu, &e);
        if (error < 0)
            return error;
    }
    if (e.payload.rdmsr.faulted)
        return fault(vcpu);
    if (index == MSR_TSC || index == MSR_TSC_ADJUST)
        guest_time_set(vcpu, 0);
    session_output(OUTPUT_MSR, index, value);
    complete(vcpu, exit);
    return 0;
}
