/* One ring: posting guest descriptors to the shadow ring, and harvesting finished ones. */
#ifndef LVMM_DMA_RING_H
#define LVMM_DMA_RING_H

#include "dma/dma.h"

/* Bytes of a receive buffer, by the bits of the profile's buffer size register. */
u32 dma_buffer_size(const struct dma_ring_profile *profile, u32 bits);

/* Descriptors that the device owns. */
u32 dma_ring_owned(const struct dma_ring *ring);

/* Gives the descriptors from ring->posted up to tail to the device; the caller writes the tail
 * register. ERR_INVALID: tail is nonsense or takes back descriptors of an enabled ring.
 * ERR_NO_SPACE: not enough shadow memory. */
int dma_ring_post(struct dma_device *device, struct dma_ring *ring, u32 tail);

/* Posts [next, tail) anew, after base, length, head or buffer size changed. On an error (as above)
 * the ring is empty. */
int dma_ring_repost(struct dma_device *device, struct dma_ring *ring, u32 tail);

/* Returns the number of descriptors completed. */
int dma_ring_harvest(struct dma_device *device, struct dma_ring *ring);

#endif
