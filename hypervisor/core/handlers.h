/* What handles each kind of exit. All return 0, or a negative value when the run is over. */
#ifndef LVMM_CORE_HANDLERS_H
#define LVMM_CORE_HANDLERS_H

#include "arch/vectors.h"
#include "core/vcpu.h"

int handle_io(struct vcpu *vcpu, const struct exit *exit);
int handle_string_io(struct vcpu *vcpu, const struct exit *exit);
int handle_memory(struct vcpu *vcpu, const struct exit *exit);
int handle_rdmsr(struct vcpu *vcpu, const struct exit *exit);
int handle_wrmsr(struct vcpu *vcpu, const struct exit *exit);
int handle_cpuid(struct vcpu *vcpu, const struct exit *exit);
int handle_hlt(struct vcpu *vcpu, const struct exit *exit);
int handle_rdtsc(struct vcpu *vcpu, const struct exit *exit);
int handle_rdpmc(struct vcpu *vcpu, const struct exit *exit);
int handle_random(struct vcpu *vcpu, const struct exit *exit);
int handle_cr(struct vcpu *vcpu, const struct exit *exit);
int handle_cr8(struct vcpu *vcpu, const struct exit *exit);
int handle_xsetbv(struct vcpu *vcpu, const struct exit *exit);

/* Completes the instruction of `exit`. */
static inline void complete(struct vcpu *vcpu, const struct exit *exit)
{
    hv_complete_instruction(vcpu, vcpu->regs.rip + exit->length);
}

#endif
