#include "dma/dma.h"

static void add(u8 *numbers, u32 *count, u8 number)
{
    numbers[(*count)++] = number;
}

static void add_ring(u8 *numbers, u32 *count, u32 ring, enum dma_direction direction)
{
    add(numbers, count, DMA_STREAM_DESCRIPTORS(ring));
    for (u32 flags = 0; flags <= (direction == DMA_RX ? DMA_PAYLOAD_FLAGS : 0); flags++)
        add(numbers, count, DMA_STREAM_PAYLOAD(ring, flags));
}

/* What has blocks, and a status beside them. */
static void add_blocks(u8 *numbers, u32 *count, u32 index)
{
    add(numbers, count, DMA_STREAM_DESCRIPTORS(index));
    add(numbers, count, DMA_STREAM_PAYLOAD(index, 0));
}

u32 dma_streams_of(const struct dma_profile *profile, u8 *numbers)
{
    u32 index = 0, count = 0;

    for (u32 i = 0; i < profile->ring_count; i++)
        add_ring(numbers, &count, index++, profile->rings[i].direction);
    for (u32 i = 0; i < profile->channel_count; i++)
        add(numbers, &count, DMA_STREAM_PAYLOAD(index++, 0));
    for (u32 i = 0; i < profile->slots_count; i++)
        add_blocks(numbers, &count, index++);
    for (u32 i = 0; profile->queues != NULL && i < DMA_MAX_QUEUES; i++)
        add_blocks(numbers, &count, i);
    if (profile->schedule != NULL) {
        add_blocks(numbers, &count, index);
        add(numbers, &count, DMA_STREAM_ELEMENTS(index));
    }
    return count;
}
