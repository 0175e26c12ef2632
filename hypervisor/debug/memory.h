/* Guest memory for the debugger: whatever is mapped, with no regard to permissions, and only RAM
 * and touched firmware pages: reading has no side effect. */
#ifndef LVMM_DEBUG_MEMORY_H
#define LVMM_DEBUG_MEMORY_H

#include "core/vcpu.h"

enum debug_space {
    DEBUG_VIRTUAL, /* linear, through the guest's page tables as they are now */
    DEBUG_PHYSICAL,
};

/* Both return how many bytes were accessible. */
u32 debug_read(const struct vcpu *vcpu, enum debug_space space, u64 address, void *to, u32 size);
/* In record the write is logged, so that the replay has it too. */
u32 debug_write(struct vcpu *vcpu, enum debug_space space, u64 address, const void *from, u32 size);

#endif
