/* External interrupts while recording: taken from the machine with the vector that the guest chose,
 * and injected when the guest can take them. */
#ifndef LVMM_CORE_INTERRUPTS_H
#define LVMM_CORE_INTERRUPTS_H

#include "core/vcpu.h"

void interrupts_arrived(struct vcpu *vcpu, u8 vector);
void interrupts_nmi_arrived(void);
/* Before an entry: injects what the guest can take here, or asks for the window. */
int interrupts_deliver(struct vcpu *vcpu);

#endif
