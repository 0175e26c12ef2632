/* Bringing a replay to an exact position: counter overflow near it, then single steps
 * (docs/how-recording-works.md). */
#ifndef LVMM_REPLAY_POSITION_H
#define LVMM_REPLAY_POSITION_H

#include "core/vcpu.h"

void position_init(u32 skid_margin);
/* Before an entry in replay: arms the counter or single-steps towards the next asynchronous event.
 * Ends the session when the position was missed. */
void position_prepare(struct vcpu *vcpu);
/* The counter's overflow NMI arrived. */
void position_overflow(void);

#endif
