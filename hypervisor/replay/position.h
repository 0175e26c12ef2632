/* Bringing a replay to an exact position: counter overflow near it, a breakpoint at its RIP or
 * single steps from there (docs/how-recording-works.md). */
#ifndef LVMM_REPLAY_POSITION_H
#define LVMM_REPLAY_POSITION_H

#include "core/vcpu.h"

void position_init(u32 skid_margin);
/* The guest is elsewhere all of a sudden: what was armed for the way there counts no more. */
void position_forget(void);

/* Where the debugger wants the guest to stop, beside the next asynchronous event. */
struct position_goal {
    u64 branches;
    u64 rip;
    bool has_rip; /* else any RIP with that many branches */
    bool step;    /* single steps from here on */
};

/* NULL: nowhere. The goal is the caller's, and may change; who looks whether the guest is there is
 * the caller too. */
void position_set_goal(const struct position_goal *goal);
/* Record: whether replay will need RF and RCX to find the vCPU's present position: inside a REP, or
 * where RFLAGS.RF is set. */
bool position_needs_place(const struct vcpu *vcpu);
/* Before an entry in replay: arms what will stop the guest at, or before, the next asynchronous
 * event. Ends the session when the position was missed. */
void position_prepare(struct vcpu *vcpu);
/* Before an entry in replay: whether the guest can run on until it is near `branches`, where the
 * counter stops it. False: it is near, or the debugger wants it elsewhere. */
bool position_run_towards(const struct vcpu *vcpu, u64 branches);
/* After every exit in replay, before anything else: undoes what position_prepare() did to the
 * guest's state. */
void position_on_exit(struct vcpu *vcpu, struct exit *exit);

#endif
