/*
 * The buffers of one command: the guest's list of them, and the shadow list with which the device
 * works. Both directions go through the shadow: what the device is to read is copied when the
 * command begins, what it wrote is what differs from what was there.
 */
#ifndef LVMM_DMA_BUFFERS_H
#define LVMM_DMA_BUFFERS_H

#include "dma/dma.h"

/* Bytes of shadow area for one command's buffers: the least with which one can work, where
 * `boundary` may cost as much again. */
u64 dma_buffers_minimum(const struct dma_list_profile *profile);

/* `memory`, page-aligned, is of at least that size. */
void dma_buffers_init(struct dma_buffers *buffers, const struct dma_list_profile *profile,
                      u8 *memory, u64 phys, u64 size);

/* Divides a piece of shadow area among the device's buffers for commands, `room` bytes each. */
void dma_commands_init(struct dma_device *device, const struct dma_list_profile *profile,
                       u8 *memory, u64 phys, u64 size, u64 room);
/* One of them that is free, or NULL. */
struct dma_buffers *dma_commands_take(struct dma_device *device);
void dma_commands_give_back(struct dma_device *device, const struct dma_buffers *buffers);

/* Adds one range of guest memory, at `offset` in the image, which is filled with what is there. */
void dma_buffers_add(struct dma_device *device, struct dma_buffers *buffers, u64 gpa, u32 offset,
                     u32 length);

/* Reads the guest's list, of at most `entries` entries, and makes the shadow list at
 * buffers->list_phys of it. What of it is not RAM is left out of the guest's memory. The list is
 * cut, and buffers->is_cut set, where the shadow area ends. Returns the bytes described. */
u64 dma_buffers_map(struct dma_device *device, struct dma_buffers *buffers, u64 guest_list,
                    u32 entries, bool to_memory);

/* The device owns the buffers that it writes to from now on, or no more. */
void dma_buffers_own(struct dma_device *device, const struct dma_buffers *buffers, u8 stream,
                     bool owned);

/* Makes visible what the device wrote since the last call, and logs it; returns the bytes. */
u64 dma_buffers_harvest(struct dma_device *device, struct dma_buffers *buffers, u8 stream);

/* The same of one range of guest memory: `image` is what the device writes, `before` what is known
 * of it. */
u64 dma_harvest_changes(struct dma_device *device, u8 stream, u64 gpa, const u8 *image, u8 *before,
                        u32 length);

#endif
