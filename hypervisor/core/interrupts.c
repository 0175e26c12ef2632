#include "core/interrupts.h"
#include "arch/msr_index.h"
#include "core/passthrough.h"
#include "replay/session.h"

#define VECTORS 256

/* Acknowledged at the machine and not yet delivered to the guest. */
static u64 waiting[VECTORS / 64];
static bool nmi_waiting;

void interrupts_arrived(struct vcpu *vcpu, u8 vector)
{
    passthrough_harvest(vcpu);
    waiting[vector / 64] |= BIT(vector % 64);
}

void interrupts_nmi_arrived(void)
{
    nmi_waiting = true;
}

/* The highest vector has the highest priority (SDM vol. 3, section 10.8.3); -1: none. */
static int highest(void)
{
    for (int i = VECTORS / 64 - 1; i >= 0; i--)
        if (waiting[i] != 0)
            return i * 64 + 63 - __builtin_clzll(waiting[i]);
    return -1;
}

int interrupts_deliver(struct vcpu *vcpu)
{
    int vector = highest();
    int error;

    if (nmi_waiting && !vcpu->event.valid) {
        nmi_waiting = false;
        error = session_record_nmi(vcpu);
        vcpu->regs.rflags &= ~RFLAGS_RF;
        hv_inject_nmi(vcpu);
        return error;
    }
    if (vector < 0) {
        hv_set_interrupt_window(false);
        return 0;
    }
    if (!hv_can_inject(vcpu)) {
        hv_set_interrupt_window(true);
        return 0;
    }
    error = session_record_interrupt(vcpu, (u8)vector);
    if (error < 0)
        return error;
    waiting[vector / 64] &= ~BIT(vector % 64);
    vcpu->regs.rflags &= ~RFLAGS_RF;
    hv_inject_interrupt(vcpu, (u8)vector);
    hv_set_interrupt_window(highest() >= 0);
    return 0;
}
