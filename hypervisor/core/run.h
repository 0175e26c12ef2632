/* The monitor's main loop. */
#ifndef LVMM_CORE_RUN_H
#define LVMM_CORE_RUN_H

#include "core/vcpu.h"

/* Runs the guest until the session ends; prints the counts of exits then. */
void run_guest(struct vcpu *vcpu);

#endif
