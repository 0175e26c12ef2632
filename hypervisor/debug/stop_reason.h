/* Why the guest does not run, in the words of the debug link: an enum link_stop_reason. */
#ifndef LVMM_DEBUG_STOP_REASON_H
#define LVMM_DEBUG_STOP_REASON_H

#include "lib/types.h"

/* By a breakpoint or watchpoint of this enum link_breakpoint_kind. */
u8 stop_reason_of_hit(u8 kind);
/* The run is over. */
u8 stop_reason_of_end(void);

#endif
