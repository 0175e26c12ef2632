/* Channels that carry out one command at a time: bus-master IDE. */
#ifndef LVMM_DMA_CHANNEL_H
#define LVMM_DMA_CHANNEL_H

#include "dma/dma.h"

/* `memory`, page-aligned, is the channel's part of the shadow area. */
void dma_channel_init(struct dma_device *device, u32 index, u8 *memory, u64 phys, u64 size);
void dma_channel_reset(struct dma_device *device, struct dma_channel *channel);

/* Carries out a write that concerns a channel; false: it concerns none. */
bool dma_channels_write(struct dma_device *device, u32 reg, u8 size, u64 value);

/* What the guest sees of registers that the device gave `value` for. */
u64 dma_channels_view(const struct dma_device *device, u32 reg, u8 size, u64 value);

/* Returns the number of commands completed. */
int dma_channel_harvest(struct dma_device *device, struct dma_channel *channel);

#endif
