/* What a guest asks the monitor for by VMCALL: guest_support/lvmm_abi.h. */
#ifndef LVMM_CORE_HYPERCALL_H
#define LVMM_CORE_HYPERCALL_H

#include "core/vcpu.h"

/* 0, or negative: the run is over. */
int handle_hypercall(struct vcpu *vcpu, const struct exit *exit);

#endif
