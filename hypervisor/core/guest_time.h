/* The guest's time-stamp counter between two logged readings: it advances with the guest's
 * position, so that most readings need no event. Never ahead of the machine's counter, and never
 * more than a bound behind it when read. */
#ifndef LVMM_CORE_GUEST_TIME_H
#define LVMM_CORE_GUEST_TIME_H

#include "core/vcpu.h"

/* The guest caused an exit that record and replay have in common. */
void guest_time_exit(void);
/* The guest learned the counter's value here (from an event). */
void guest_time_anchor(const struct vcpu *vcpu, u64 tsc);
/* What the next predictions depend on. */
void guest_time_save(struct log_cpu_state *out);
void guest_time_restore(const struct log_cpu_state *from);
/* What the counter shows at the vCPU's position as far as that alone can tell. */
u64 guest_time_predict(const struct vcpu *vcpu);
/* Whether the guest has learned the counter's value at all. */
bool guest_time_known(void);
/* Record: whether the prediction will do for a reading here, the machine's counter being `tsc`. If
 * so the reading is not logged, and replay will predict as well. */
bool guest_time_elide(const struct vcpu *vcpu, u64 tsc);
/* Record: whether a reading that was not logged was at as many branches, so that one logged here
 * needs a check to be told from it. */
bool guest_time_ambiguous(const struct vcpu *vcpu);

#endif
