#include "pool.h"
#include "memory.h"
#include "panic.h"

/* What is wiped of a buffer: a short frame must not be taken for the longer one before it. */
#define WIPED_BYTES 64

static struct buffer buffers[POOL_BUFFERS];

static struct {
    struct buffer *volatile first; /* volatile: the interrupt handler changes it */
    u32 takes;
    bool racy;
} pool;

void pool_start(bool racy)
{
    pool.racy = racy;
    for (u32 i = 0; i < POOL_BUFFERS; i++) {
        buffers[i].next = pool.first;
        pool.first = &buffers[i];
    }
}

struct buffer *pool_take(enum owner owner)
{
    struct buffer *buffer = pool.first;
    if (buffer == 0)
        return 0;
    if (buffer->owner != OWNER_POOL)
        panic("buffer %u is free, and yet in use", (u32)(buffer - buffers));
    pool.first = buffer->next;
    pool.takes++;
    buffer->owner = owner;
    return buffer;
}

void pool_put(struct buffer *buffer)
{
    u32 eflags = 0;
    if (!pool.racy)
        eflags = interrupts_off();
    buffer->next = pool.first;
    memset(buffer->data, 0, WIPED_BYTES);
    buffer->owner = OWNER_POOL;
    pool.first = buffer;
    interrupts_restore(eflags);
}
