/* Run control over a replay as a whole: to a position, and what was met on the way there. Going
 * back is checkpoint_restore() and going to a position from there. */
#ifndef LVMM_DEBUG_TRAVEL_H
#define LVMM_DEBUG_TRAVEL_H

#include "core/vcpu.h"
#include "link_layout.h"
#include "replay/checkpoint.h"

/* Where to stop. */
struct travel {
    struct run_position to;
    u8 flags;       /* enum link_position_flag */
    u8 look_back;   /* enum link_look_back */
    u64 steps_from; /* branches */
};

/* The last breakpoint, watchpoint or boundary that was met. */
struct travel_hit {
    u64 hits; /* so far */
    struct run_position at;
    u8 reason; /* enum link_stop_reason */
    bool after;
    u32 breakpoint;
    u64 address;
};

void travel_begin(const struct travel *travel);
/* The guest stops: the travel is over. What it met stays. */
void travel_end(void);
bool travel_looks_back(void);

/* At a boundary: LINK_STOP_REASON_POSITION or PASSED where the guest is to stop for it, else NONE.
 */
u8 travel_look(const struct vcpu *vcpu);
/* At a boundary before the guest goes on: this is a step, if steps are looked at. */
void travel_step(const struct vcpu *vcpu);
/* While the travel looks back. `after`: the access has been made. */
void travel_met(const struct vcpu *vcpu, u8 reason, u64 address, u32 breakpoint, bool after);
const struct travel_hit *travel_last_hit(void);

#endif
