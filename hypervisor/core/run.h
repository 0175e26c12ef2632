/* The monitor's main loop. */
#ifndef LVMM_CORE_RUN_H
#define LVMM_CORE_RUN_H

#include "core/vcpu.h"

/* Runs the guest until the session ends; prints the counts of exits then. */
void run_guest(struct vcpu *vcpu);
/* How many exits with this reason there were; `reason` is below HV_REASON_COUNT. */
u64 run_exit_count(u32 reason);

#endif
