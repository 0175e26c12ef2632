/* The debugger's breakpoints and watchpoints by number: software ones are patches; the others use
 * the debug registers that positions do not need, and watchpoints EPT where there is none left. */
#ifndef LVMM_DEBUG_BREAKPOINTS_H
#define LVMM_DEBUG_BREAKPOINTS_H

#include "core/vcpu.h"

/* An enum link_result, and the number, from 1. `kind` is an enum link_breakpoint_kind. */
u8 breakpoints_set(const struct vcpu *vcpu, u8 kind, u64 address, u32 length, u32 *id);
u8 breakpoints_clear(u32 id);
void breakpoints_clear_all(void);

struct breakpoint {
    u8 kind; /* enum link_breakpoint_kind */
    u64 address;
    u32 id; /* 0: none */
};

/* Whether there has ever been one: where not, nothing needs to be looked for. */
bool breakpoints_used(void);

/* The software breakpoint at an address, or the point that a debug register stands for. */
struct breakpoint breakpoints_software(u64 address);
struct breakpoint breakpoints_point(unsigned int point);
/* What the guest's instruction hit by its accesses to watched pages, with the data's address. */
struct breakpoint breakpoints_after_access(void);
/* What a write of the monitor's, which is not done yet, hits: of any means. */
struct breakpoint breakpoints_written(const struct vcpu *vcpu, u64 gpa, const void *data, u64 size);
/* The breakpoint at this address; id 0: none. */
struct breakpoint breakpoints_at(u64 address);
/* Whether a hardware breakpoint is set at this address. */
bool breakpoints_hardware_at(u64 address);

#endif
