/* Where the run stands, as the debug link's requests see it, and the line on which they come. */
#ifndef LVMM_DEBUG_RUN_STATE_H
#define LVMM_DEBUG_RUN_STATE_H

#include "core/vcpu.h"
#include "link_layout.h"

/* Looked at around every entry, so it is not behind calls. */
struct run_flags {
    enum link_run_state state;
    bool break_in; /* a running guest is to stop at the next boundary */
};

extern struct run_flags run_flags; /* to be read only */

/* `break_in`: the guest is to stop before its first instruction. */
void run_state_init(struct vcpu *vcpu, bool break_in);

/* Looks at the line and carries out what is asked for. */
void run_state_poll(void);

static inline enum link_run_state run_state(void)
{
    return run_flags.state;
}

void run_state_status(struct link_status *status);

/* The guest runs. */
void run_state_go(void);
/* The guest has stopped, or the run is over: the tools are told of it. */
void run_state_stop(enum link_run_state state, u8 reason, u64 address, u32 breakpoint);

/* Stops the guest if it runs. */
void run_state_break_in(void);

/* A forced write, of which the log does not know. */
void run_state_altered(void);
void run_state_reset_after_reply(void);

#endif
