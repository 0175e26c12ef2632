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

/* Where checkpoints are to be, which is all that this looks at: `memory` is page-aligned and has
 * `size` bytes. They will be `interval` branches or more from each other. ERR_NO_SPACE: the memory
 * is too little. */
int checkpoints_init(void *memory, u64 size, u64 interval);
/* Makes checkpoints from now on, the first one here. ERR_NO_SPACE. */
int checkpoints_start(struct vcpu *vcpu);
/* Instead: the guest goes to the last of the checkpoints that an earlier replay has kept in the
 * same memory. Guest RAM is all zeros before. ERR_INVALID: there are none of this recording,
 * monitor and amount of memory. */
int checkpoints_resume(struct vcpu *vcpu);
/* With the guest at the last checkpoint: adds all that checkpoints_resume() needs to what is in
 * the memory, and says how much of it that is, in bytes from its start. ERR_INVALID where the guest
 * has gone on from there; ERR_NO_SPACE. */
int checkpoints_keep(struct vcpu *vcpu, u64 *size);
const void *checkpoints_memory(void);

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
