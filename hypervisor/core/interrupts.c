#include "core/interrupts.h"
#include "arch/msr_index.h"
#include "arch/traps.h"
#include "core/guest_time.h"
#include "core/hints.h"
#include "core/passthrough.h"
#include "replay/session.h"

static bool pending; /* at the machine, not acknowledged */
static bool nmi_pending;
static u64 nmis_seen; /* that came while the monitor ran */
static bool waiting;  /* for the guest's window */

/* While the interrupt waits for the guest's window it must not cause exits again. */
static void wait_for_window(bool wait)
{
    waiting = wait;
    hv_set_interrupt_exiting(!wait);
    hv_set_interrupt_window(wait);
}

void interrupts_hold(bool hold)
{
    if (!session_recording())
        return;
    if (hold) {
        hv_set_interrupt_exiting(false);
        hv_set_interrupt_window(false);
    } else {
        wait_for_window(waiting);
    }
}

void interrupts_pending(struct vcpu *vcpu)
{
    passthrough_harvest(vcpu);
    pending = true;
}

void interrupts_init(void)
{
    nmis_seen = traps_nmi_count();
}

void interrupts_nmi_arrived(void)
{
    nmi_pending = true;
}

static int deliver_nmi(struct vcpu *vcpu)
{
    int error = session_recording() ? session_record_nmi(vcpu) : 0;

    nmi_pending = false;
    vcpu->regs.rflags &= ~RFLAGS_RF;
    hv_inject_nmi(vcpu);
    return error;
}

int interrupts_deliver(struct vcpu *vcpu)
{
    int vector, error;

    /* One that the guest causes by a register comes while the monitor carries that out. */
    if (traps_nmi_count() != nmis_seen) {
        nmis_seen = traps_nmi_count();
        nmi_pending = true;
    }
    if (nmi_pending && hv_can_inject_nmi(vcpu))
        return deliver_nmi(vcpu);
    if (!pending)
        return 0;
    if (!hv_can_inject(vcpu)) {
        wait_for_window(true);
        return 0;
    }
    wait_for_window(false);
    pending = false;
    vector = traps_take_interrupt();
    if (vector < 0)
        return 0; /* it was withdrawn */
    hints_on_interrupt(vcpu, (u8)vector);
    error = session_record_interrupt(vcpu, (u8)vector);
    guest_time_catch_up(vcpu);
    vcpu->regs.rflags &= ~RFLAGS_RF;
    hv_inject_interrupt(vcpu, (u8)vector);
    return error;
}
