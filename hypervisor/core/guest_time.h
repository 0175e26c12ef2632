/* The guest's time-stamp counter in record and replay. It stands still while the guest runs, and
 * advances at the exits that record and replay have in common, by what can be told from the guest's
 * position; so readings need no event, and mostly no exit. When it is too far behind the machine's
 * counter the next reading is logged, and sets it. */
#ifndef LVMM_CORE_GUEST_TIME_H
#define LVMM_CORE_GUEST_TIME_H

#include "core/vcpu.h"

/* The guest caused an exit that record and replay have in common. */
void guest_time_advance(const struct vcpu *vcpu);
/* The guest learned the counter's value here, from an event. `tsc` 0: it is not known any more, and
 * the next reading will be logged. */
void guest_time_set(const struct vcpu *vcpu, u64 tsc);
/* Record: sets the counter to the machine's, where DMA or an interrupt has just been logged:
 * without that the handler of a timer would find that its time has not come. False: not logged. */
bool guest_time_catch_up(struct vcpu *vcpu);
void guest_time_save(struct log_cpu_state *out);
void guest_time_restore(const struct log_cpu_state *from);
/* What the guest reads, in ticks; 0: not known, it has not read it yet. */
u64 guest_time_now(void);
/* Whether the reading that has just exited is one that is logged. Others give guest_time_now().
 * A logged one is the first at its number of branches: so replay knows it. */
bool guest_time_logged(const struct vcpu *vcpu);
/* Record: the guest is in a loop with PAUSE. Where it waits for a time, it need not do so longer
 * than it wants: its next reading is logged. */
void guest_time_guest_waits(void);
/* Before each entry: whether readings exit. */
void guest_time_before_entry(const struct vcpu *vcpu);

#endif
