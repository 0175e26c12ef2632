/* What checkpoint.c and kept_checkpoints.c share. */
#ifndef LVMM_REPLAY_CHECKPOINT_STATE_H
#define LVMM_REPLAY_CHECKPOINT_STATE_H

#include "core/cpu_state.h"
#include "replay/checkpoint.h"
#include "replay/session.h"

#define CHECKPOINTS_MAX 256

struct checkpoint {
    u32 id;
    u32 first_page; /* in the store; those up to the next one's were saved in between */
    struct run_position at;
    struct session_mark session;
    unsigned int firmware_pages;
    u32 state_size;
    u8 state[CPU_STATE_MAX] __attribute__((aligned(8)));
};

struct kept_checkpoints;

struct checkpoints {
    struct kept_checkpoints *kept; /* the memory's first page */
    struct checkpoint *list;       /* NULL: none are made */
    unsigned int count;
    u32 last_id;
    u64 interval;

    /* The store: contents of pages as they were, and where. */
    u8 (*pages)[PAGE_SIZE];
    u64 *gpas;
    u32 page_count, pages_max;

    void *journal; /* memory for core/page_journal.h */
    u8 *seen;      /* a byte for each guest_memory_index() */
    bool merged;   /* `seen` is of the last interval, which has pages of one that was forgotten */
};

extern struct checkpoints checkpoints;

/* Forgets every second checkpoint, but not the first, and the last only where there are no others.
 * What was saved after one that goes belongs to the one before it, whose own pages are older. */
void checkpoints_thin_out(void);
/* For the page journal. */
void checkpoints_save_page(u64 gpa, const void *page);

#endif
