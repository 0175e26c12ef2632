/* External interrupts while recording: taken from the machine, with the vector that the guest
 * chose, at the moment when the guest can take them, and not earlier: the guest may reprogram the
 * interrupt controllers while it has interrupts disabled. */
#ifndef LVMM_CORE_INTERRUPTS_H
#define LVMM_CORE_INTERRUPTS_H

#include "core/vcpu.h"

void interrupts_pending(struct vcpu *vcpu);
void interrupts_nmi_arrived(void);
/* Before the guest's first entry: NMIs so far were not the guest's. */
void interrupts_init(void);
/* Record: for one entry the guest, which cannot take any, gets none, and none causes an exit. */
void interrupts_hold(bool hold);
/* Before an entry: injects what the guest can take here, or waits for the window. In a live run
 * interrupts go to the guest by themselves, but NMIs come this way. */
int interrupts_deliver(struct vcpu *vcpu);

#endif
