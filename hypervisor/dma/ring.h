/* One ring: posting guest descriptors to the shadow ring, and harvesting finished ones. */
#ifndef LVMM_DMA_RING_H
#define LVMM_DMA_RING_H

#include "dma/dma.h"

/* Bytes of a receive buffer, by the bits of the profile's buffer size register. */
u32 dma_buffer_size(const struct dma_ring_profile *profile, u32 bits);

/* The device does not work on the ring, until dma_ring_restart(). */
void dma_ring_pause(struct dma_device *device, const struct dma_ring *ring);

/* The device owns none of the descriptors any more, and nothing follows what it has received or was
 * given of a frame. */
void dma_ring_give_up(struct dma_device *device, struct dma_ring *ring);

/* Descriptors that the device owns. */
u32 dma_ring_owned(const struct dma_ring *ring);

/* Gives the descriptors from ring->posted up to tail to the device; the caller writes the tail
 * register. ERR_INVALID: tail is outside the ring or takes descriptors back. ERR_NO_SPACE: the
 * buffers do not fit the shadow area. */
int dma_ring_post(struct dma_device *device, struct dma_ring *ring, u32 tail);

/* Gives [ring->next, ring->tail) to the device, after anything about the ring changed.
 * ERR_INVALID: one of these is outside the ring. ERR_NO_SPACE as above. */
int dma_ring_restart(struct dma_device *device, struct dma_ring *ring);

/* Whether a 32-bit register concerns the ring. */
bool dma_ring_has_register(const struct dma_ring_profile *ring, u32 reg);

/* Before a 32-bit register is written: the value for the device, if *forward. */
u64 dma_ring_write(struct dma_device *device, struct dma_ring *ring, u32 reg, u64 value,
                   bool *forward);

/* Of a transmit descriptor: the kind that it is of, NULL when none. */
const struct dma_form *dma_form_of(const struct dma_ring_profile *profile, const u8 *descriptor);

/* Tells the environment what the device is given to send by this descriptor. */
void dma_ring_tell_sent(struct dma_device *device, struct dma_ring *ring, const u8 *descriptor);

/* Whether a frame ends with this descriptor. */
bool dma_is_last(const struct dma_ring_profile *profile, const u8 *descriptor);

/* Returns the number of descriptors completed. */
int dma_ring_harvest(struct dma_device *device, struct dma_ring *ring);

#endif
