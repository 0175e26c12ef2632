/*
 * A schedule: a list of frames in memory, each a link to queues and transfers that the device walks
 * without being told of new ones. The device has a list of its own, and an image of each structure
 * that the guest's list reaches.
 */
#ifndef LVMM_DMA_SCHEDULE_STATE_H
#define LVMM_DMA_SCHEDULE_STATE_H

#include "dma/profile.h"
#include "lib/types.h"

#define DMA_ITEM_WORDS 4          /* of 32 bits, that a structure has at most */
#define DMA_ITEM_NONE  0xffffffff /* instead of an index */

enum dma_item_state {
    DMA_ITEM_FREE,
    DMA_ITEM_NEW,    /* the device does not know it yet */
    DMA_ITEM_LINKED, /* the guest's list reached it at the last walk */
    DMA_ITEM_GONE,   /* no longer, but the device may still be at it */
};

/* A queue or a transfer. Of both the device writes one word. */
struct dma_item {
    u32 key;                   /* the guest's address, with the link's bit for queues */
    u32 next;                  /* in its bucket, or of the free ones */
    u32 seen[DMA_ITEM_WORDS];  /* as the guest's memory is known */
    u32 given;                 /* the word that the device writes, as its image is known */
    u32 now;                   /* the same, just read */
    u32 targets[2];            /* where the links lead: of a queue the next one, then its element */
    u32 walk;                  /* the last walk that reached it */
    u32 gone_since;            /* the frame */
    u32 buffer;                /* of the data: where the guest has it, */
    u16 length, block, blocks; /* bytes; where the device has it: 0 blocks, if it has none */
    u8 state;
    bool to_memory;
    bool is_touched; /* the guest changed the word that the device writes */
};

/* Items that the device may be at, as a walk came to them: transfers from the beginning on, queues
 * from the end on. */
struct dma_order {
    u32 *indexes;
    u32 transfers, queues;
};

struct dma_schedule {
    const struct dma_schedule_profile *profile;
    u32 index;      /* among all rings, channels and the like of the device */
    u32 guest_list; /* the register, as written by the guest */
    bool started;
    bool active; /* started, or not halted since */

    u32 *frames; /* the device's list */
    u64 frames_phys;
    u32 *frames_seen; /* the guest's, */
    u32 *frames_next; /* and as it is now; then the device's as it will be */
    bool frames_known;
    u32 *roots; /* items to which frames link, each once */
    u32 root_count;

    struct dma_item *items;
    u32 (*images)[DMA_ITEM_WORDS]; /* of the items, for the device */
    u64 images_phys;
    u32 *buckets;
    u32 free_item;
    struct dma_order order, order_before; /* of the last walk, and of the one before */
    u32 *stack, *changed;                 /* of the walk */
    u32 stack_count, changed_count;
    u32 walk;

    u8 *data, *data_before; /* blocks; as the guest's memory is */
    u64 data_phys;
    u8 *block_used;
    u32 block_count, next_block;
};

#endif
