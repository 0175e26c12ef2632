/* The debugger's breakpoints and watchpoints by number: software ones are patches; the others use
 * the debug registers that positions do not need, and watchpoints EPT where there is none left. */
#ifndef LVMM_DEBUG_BREAKPOINTS_H
#define LVMM_DEBUG_BREAKPOINTS_H

#include "core/vcpu.h"

/* An enum link_result, and the number, from 1. `kind` is an enum link_breakpoint_kind. */
u8 breakpoints_set(const struct vcpu *vcpu, u8 kind, u64 address, u8 length, u32 *id);
u8 breakpoints_clear(u32 id);
void breakpoints_clear_all(void);

struct breakpoint {
    u8 kind; /* enum link_breakpoint_kind */
    u64 address;
    u32 id; /* 0: none */
};

/* The software breakpoint at an address, or the point that a debug register stands for. */
struct breakpoint breakpoints_by_id(u32 id);
struct breakpoint breakpoints_software(u64 address);
struct breakpoint breakpoints_point(unsigned int point);
/* Whether a hardware breakpoint is set at this address. */
bool breakpoints_hardware_at(u64 address);

#endif
