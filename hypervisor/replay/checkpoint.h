/* Points of a replay to which it can go back. From the first on, what pages of guest memory were
 * before they were written is kept (core/page_journal.h), so that memory can be undone. */
#ifndef LVMM_REPLAY_CHECKPOINT_H
#define LVMM_REPLAY_CHECKPOINT_H

#include "core/vcpu.h"

/* A boundary between two instructions of a replay: struct link_position. */
struct run_position {
    u64 events;
    u64 branches;
    u64 rip;
    u32 check;
};

struct run_position run_position(const struct vcpu *vcpu);

/* Makes checkpoints from now on, the first one here, the others every `interval` branches or more.
 * `memory` is page-aligned and has `size` bytes. ERR_NO_SPACE: that is too little. */
int checkpoints_start(struct vcpu *vcpu, void *memory, u64 size, u64 interval);
bool checkpoints_on(void);
/* At each boundary before the guest goes on: makes one when it is time for it. */
void checkpoints_look(struct vcpu *vcpu);

/* Makes one now: its number, or ERR_INVALID where the guest's state is not whole, as with an event
 * half delivered. */
int checkpoint_take(struct vcpu *vcpu);
/* Brings guest and replay back to one, and forgets the later ones. ERR_FAULT: there is none with
 * this number. */
int checkpoint_restore(struct vcpu *vcpu, u32 id);

struct checkpoint_info {
    u32 id;
    u32 pages; /* saved since it, up to the next */
    struct run_position at;
};

unsigned int checkpoint_count(void);
/* The i-th, oldest first. */
struct checkpoint_info checkpoint_info(unsigned int i);
/* Whether a page was written between the i-th and the next. */
bool checkpoint_changed(unsigned int i, u64 gpa);
/* Bytes of memory that they take, and that there are for them. */
void checkpoint_memory(u64 *used, u64 *room);

#endif
