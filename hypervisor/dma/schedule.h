/* Schedules that the device walks without a doorbell: UHCI. */
#ifndef LVMM_DMA_SCHEDULE_H
#define LVMM_DMA_SCHEDULE_H

#include "dma/dma.h"

/* Bytes of shadow area without which the profile's schedule cannot work. */
u64 dma_schedule_minimum(const struct dma_profile *profile);

/* `memory`, page-aligned, is of at least that size, below 4 GiB. */
void dma_schedule_init(struct dma_device *device, u8 *memory, u64 phys, u64 size);
void dma_schedule_reset(struct dma_device *device);

/* Before a register is written: whether the write is to be forwarded. */
bool dma_schedule_write(struct dma_device *device, u32 reg, u8 size, u64 value);

/* After a register was read from the device: what the guest sees. */
u64 dma_schedule_read(struct dma_device *device, u32 reg, u8 size, u64 value);

/* Makes visible what the device did. Returns the number of transfers completed. */
int dma_schedule_harvest(struct dma_device *device);

/* Harvests, and gives the device what the guest linked. */
void dma_schedule_find_work(struct dma_device *device);

#endif
