/* The guest's CPU in the log's layouts: where a recording ends, and where one begins that does not
 * begin with the guest's start. */
#ifndef LVMM_CORE_CPU_STATE_H
#define LVMM_CORE_CPU_STATE_H

#include "arch/fpu.h"
#include "core/vcpu.h"
#include "log_format.h"

void cpu_state_final(const struct vcpu *vcpu, struct log_final_state *out);

/* What the guest has put out so far. */
struct output_state {
    u64 console_bytes;
    u32 crc; /* of all output: session_output() */
};

/* What BEGIN carries: the structure, then the XSAVE image. */
#define CPU_STATE_MAX (sizeof(struct log_cpu_state) + FPU_IMAGE_MAX)
/* At an instruction's end, with no event to be delivered. Returns the bytes written to `out`, which
 * has CPU_STATE_MAX; 0 where this CPU's XSAVE image is larger. */
u32 cpu_state_save(const struct vcpu *vcpu, const struct output_state *output, u8 *out);
/* ERR_INVALID where it is no such state, or one that this CPU does not take. */
int cpu_state_restore(struct vcpu *vcpu, const u8 *from, u32 size, struct output_state *output);

#endif
