/* Instructions that ask the CPU itself for something: time, randomness, identity, control. */
#include "arch/cpu.h"
#include "arch/lapic.h"
#include "arch/msr_index.h"
#include "core/device_access.h"
#include "core/guest_cpuid.h"
#include "core/guest_time.h"
#include "core/handlers.h"
#include "replay/session.h"

static void set_register(struct vcpu *vcpu, u8 gpr, u8 size, u64 value)
{
    u64 *reg = &vcpu->regs.gpr[gpr];

    if (size == 8)
        *reg = value;
    else if (size == 4)
        *reg = (u32)value;
    else
        *reg = (*reg & ~0xffffULL) | (u16)value;
}

int handle_cpuid(struct vcpu *vcpu, const struct exit *exit)
{
    u64 *gpr = vcpu->regs.gpr;
    struct cpuid_regs r = guest_cpuid((u32)gpr[GPR_RAX], (u32)gpr[GPR_RCX]);

    gpr[GPR_RAX] = r.eax;
    gpr[GPR_RBX] = r.ebx;
    gpr[GPR_RCX] = r.ecx;
    gpr[GPR_RDX] = r.edx;
    complete(vcpu, exit);
    return 0;
}

/* The guest waits in the HLT activity state; an interrupt ends it (record) or the next event is due
 * at once (replay). With interrupts off nothing but an NMI could: it halts for good. */
int handle_hlt(struct vcpu *vcpu, const struct exit *exit)
{
    complete(vcpu, exit);
    if (!(vcpu->regs.rflags & RFLAGS_IF)) {
        session_end(vcpu, LOG_END_REASON_HALT, false);
        return 0;
    }
    vcpu->halted = true;
    return 0;
}

static int read_time(struct vcpu *vcpu, u8 kind, u64 *tsc)
{
    struct log_event e;
    int error;

    if (!guest_time_logged(vcpu)) {
        *tsc = guest_time_now();
        return 0;
    }
    session_event(&e, kind);
    e.payload.rdtsc.tsc = rdtsc();
    error = session_input(vcpu, &e);
    *tsc = e.payload.rdtsc.tsc;
    guest_time_set(vcpu, *tsc);
    return error;
}

int handle_rdtsc(struct vcpu *vcpu, const struct exit *exit)
{
    bool with_aux = exit->kind == EXIT_RDTSCP;
    u64 tsc;
    int error = read_time(vcpu, with_aux ? LOG_EVENT_RDTSCP : LOG_EVENT_RDTSC, &tsc);

    if (error < 0)
        return error;
    vcpu->regs.gpr[GPR_RAX] = (u32)tsc;
    vcpu->regs.gpr[GPR_RDX] = tsc >> 32;
    if (with_aux)
        vcpu->regs.gpr[GPR_RCX] = (u32)rdmsr(MSR_TSC_AUX);
    complete(vcpu, exit);
    return 0;
}

/* The guest's CPU has no counters: CPUID leaf 0xA says so. */
int handle_rdpmc(struct vcpu *vcpu, const struct exit *exit)
{
    (void)exit;
    hv_inject_exception(vcpu, VECTOR_GP, true, 0);
    return 0;
}

/* CPUID: leaf 1, ECX, and leaf 7, EBX (SDM vol. 2). */
#define CPUID_1_ECX_RDRAND BIT(30)
#define CPUID_7_EBX_RDSEED BIT(18)

/* Whether the CPU that the guest sees has the instruction: in replay that is the recorded one. */
static bool has_random(bool seed)
{
    return seed ? guest_cpuid(7, 0).ebx & CPUID_7_EBX_RDSEED
                : guest_cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND;
}

int handle_random(struct vcpu *vcpu, const struct exit *exit)
{
    bool seed = exit->kind == EXIT_RDSEED;
    bool carry = false;
    u64 value = 0;
    struct log_event e = {.kind = seed ? LOG_EVENT_RDSEED : LOG_EVENT_RDRAND};
    int error;

    if (!has_random(seed)) {
        hv_inject_exception(vcpu, VECTOR_UD, false, 0);
        return 0;
    }
    if (!session_replaying())
        value = seed ? rdseed64(&carry) : rdrand64(&carry);
    if (exit->u.random.size < 8)
        value &= (1ULL << exit->u.random.size * 8) - 1;
    e.payload.rdrand = (struct log_rdrand){exit->u.random.size, carry, value};
    error = session_input(vcpu, &e);
    if (error < 0)
        return error;
    set_register(vcpu, exit->u.random.gpr, exit->u.random.size, e.payload.rdrand.value);
    /* CF tells success; OF, SF, ZF, AF and PF are cleared (SDM vol. 2, RDRAND). */
    vcpu->regs.rflags &= ~0x8d5ULL;
    vcpu->regs.rflags |= e.payload.rdrand.carry & 1;
    complete(vcpu, exit);
    return 0;
}

/* CR8 is the local APIC's task-priority register by another name (SDM vol. 3, section 10.8.6). */
int handle_cr8(struct vcpu *vcpu, const struct exit *exit)
{
    u64 *gpr = &vcpu->regs.gpr[exit->u.cr.gpr];

    if (exit->u.cr.write) {
        if (*gpr & ~15ULL) {
            hv_inject_exception(vcpu, VECTOR_GP, true, 0);
            return 0;
        }
        device_write(vcpu, LAPIC_BASE + LAPIC_TPR, 4, *gpr << 4);
        vcpu->cr8 = *gpr;
    } else {
        u64 tpr;
        int error = device_read(vcpu, LAPIC_BASE + LAPIC_TPR, 4, &tpr);

        if (error < 0)
            return error;
        *gpr = tpr >> 4 & 15;
        vcpu->cr8 = *gpr;
    }
    complete(vcpu, exit);
    return 0;
}

int handle_xsetbv(struct vcpu *vcpu, const struct exit *exit)
{
    u64 *gpr = vcpu->regs.gpr;
    u64 value = (u32)gpr[GPR_RAX] | gpr[GPR_RDX] << 32;

    if ((u32)gpr[GPR_RCX] != 0 || hv_cpl() != 0 || !guest_xcr0_valid(value)) {
        hv_inject_exception(vcpu, VECTOR_GP, true, 0);
        return 0;
    }
    xsetbv(0, value);
    complete(vcpu, exit);
    return 0;
}
