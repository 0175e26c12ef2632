#include "debug/stop_reason.h"
#include "link_layout.h"
#include "replay/session.h"

u8 stop_reason_of_hit(u8 kind)
{
    switch (kind) {
    case LINK_BREAKPOINT_KIND_SOFTWARE:
        return LINK_STOP_REASON_SOFTWARE_BREAKPOINT;
    case LINK_BREAKPOINT_KIND_HARDWARE:
        return LINK_STOP_REASON_HARDWARE_BREAKPOINT;
    default:
        return LINK_STOP_REASON_WATCHPOINT;
    }
}

u8 stop_reason_of_end(void)
{
    struct session_status session;

    session_read_status(&session);
    if (session.diverged)
        return LINK_STOP_REASON_DIVERGENCE;
    if (session_replaying())
        return LINK_STOP_REASON_LOG_END;
    switch (session.end_reason) {
    case LOG_END_REASON_TRIPLE_FAULT:
        return LINK_STOP_REASON_TRIPLE_FAULT;
    case LOG_END_REASON_MONITOR_ERROR:
        return LINK_STOP_REASON_UNHANDLED_EXIT;
    case LOG_END_REASON_GUEST_PANIC:
        return LINK_STOP_REASON_GUEST_PANIC;
    case LOG_END_REASON_WATCHDOG:
        return LINK_STOP_REASON_WATCHDOG;
    default:
        return LINK_STOP_REASON_RUN_END;
    }
}
