/* RDMSR and WRMSR of what is not plain guest state. */
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "core/guest_time.h"
#include "core/handlers.h"
#include "replay/session.h"

/* Not there for the guest: virtualization, counters, x2APIC, microcode loading, and what writes to
 * memory by itself (processor trace, the debug store). */
static const struct {
    u32 first, last;
} hidden[] = {
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

static bool is_hidden(u32 index)
{
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
        if (index >= hidden[i].first && index <= hidden[i].last)
            return true;
    return false;
}

static int fault(struct vcpu *vcpu)
{
    hv_inject_exception(vcpu, VECTOR_GP, true, 0);
    return 0;
}

int handle_rdmsr(struct vcpu *vcpu, const struct exit *exit)
{
    u32 index = (u32)vcpu->regs.gpr[GPR_RCX];
    struct log_event e = {.kind = LOG_EVENT_RDMSR, .payload.rdmsr.index = index};
    u64 value = 0;
    int error;

    if (is_hidden(index))
        return fault(vcpu);
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
        guest_time_anchor(vcpu, e.payload.rdmsr.value);
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
           (index >= MSR_MTRR_PHYSBASE0 && index < MSR_MTRR_FIX64K_00000 + 0x20);
}

/* Whether the CPU accepts a value is an input too: it is logged as an RDMSR of that register
 * without a value. The TSC deadline, written at every timer re-arm, always is accepted. */
int handle_wrmsr(struct vcpu *vcpu, const struct exit *exit)
{
    u32 index = (u32)vcpu->regs.gpr[GPR_RCX];
    u64 value = (u32)vcpu->regs.gpr[GPR_RAX] | vcpu->regs.gpr[GPR_RDX] << 32;
    struct log_event e = {.kind = LOG_EVENT_RDMSR, .payload.rdmsr.index = index};
    int error;

    if (is_hidden(index))
        return fault(vcpu);
    if (!is_kept(index) && !session_replaying())
        e.payload.rdmsr.faulted = wrmsr_safe(index, value) < 0;
    if (index != MSR_TSC_DEADLINE) {
        error = session_input(vcpu, &e);
        if (error < 0)
            return error;
    }
    if (e.payload.rdmsr.faulted)
        return fault(vcpu);
    session_output(OUTPUT_MSR, index, value);
    complete(vcpu, exit);
    return 0;
}
