/* The buffers for received frames, and a list of the free ones. The network card's interrupt
   handler takes from it, the main loop puts back. */
#ifndef APPLIANCE_POOL_H
#define APPLIANCE_POOL_H

#include <stdbool.h>
#include "cpu.h"

#define BUFFER_BYTES 2048
#define POOL_BUFFERS 32

/* Who may touch a buffer. */
enum owner {
    OWNER_POOL,
    OWNER_CARD,  /* it is in the receive ring */
    OWNER_STACK, /* it is in the queue of received frames, or being worked on */
};

struct buffer {
    struct buffer *next; /* in the list of free ones */
    enum owner owner;
    u32 length; /* of the frame */
    u8 data[BUFFER_BYTES] __attribute__((aligned(16)));
};

/* With `racy` pool_put() leaves interrupts on: the bug that docs/finding-a-race.md finds. */
void pool_start(bool racy);

/* For `owner`, from now on; 0 when there is none. Only for interrupt handlers. */
struct buffer *pool_take(enum owner owner);

void pool_put(struct buffer *buffer);

#endif
