/* One ring: posting guest descriptors to the shadow ring, and harvesting finished ones. */
#ifndef LVMM_DMA_RING_H
#define LVMM_DMA_RING_H

#include "dma/dma.h"

/* Bytes of a receive buffer, by the bits of the profile's buffer size register. */
u32 dma_buffer_size(const struct dma_ring_profile *profile, u32 bits);

/* Descriptors that the device owns. */
u32 dma_ring_owned(const struct dma_ring *ring);

/* Gives the descriptors from ring->posted up to tail to the device; the caller writes the tail
 * register. ERR_INVALID: tail is outside the ring or takes descriptors back. ERR_NO_SPACE: the
 * buffers do not fit the shadow area. */
int dma_ring_post(struct dma_device *device, struct dma_ring *ring, u32 tail);

/* Gives [ring->next, ring->tail) to the device, after anything about the ring changed.
 * ERR_INVALID: one of these is outside the ring. ERR_NO_SPACE as above. */
int dma_ring_restart(struct dma_device *device, struct dma_ring *ring);

/* Returns the number of descriptors completed. */
int dma_ring_harvest(struct dma_device *device, struct dma_ring *ring);

#endif
