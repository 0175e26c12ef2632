/* Lists of commands in memory: the ports of AHCI. */
#ifndef LVMM_DMA_SLOTS_H
#define LVMM_DMA_SLOTS_H

#include "dma/dma.h"

/* Bytes of shadow area for all lists of a profile, with one command's buffers for all of them. */
u64 dma_slots_minimum(const struct dma_profile *profile);

/* Divides what is left of the shadow area, page-aligned, among lists and commands. */
void dma_slots_init(struct dma_device *device, u8 *memory, u64 phys, u64 size);
/* Gives up what the device works on; what it has done stays done. */
void dma_slots_stop(struct dma_device *device, struct dma_slots *slots);
void dma_slots_reset(struct dma_device *device, struct dma_slots *slots);

/* Whether a 32-bit register concerns the list. */
bool dma_slots_has_register(const struct dma_slots_profile *profile, u32 reg);

/* Before a 32-bit register is written: the value for the device, if *forward. */
u32 dma_slots_write(struct dma_device *device, struct dma_slots *slots, u32 reg, u32 value,
                    bool *forward);

/* What the guest sees of a register. */
u32 dma_slots_view(const struct dma_slots *slots, u32 reg, u32 value);

/* Returns the number of commands completed. */
int dma_slots_harvest(struct dma_device *device, struct dma_slots *slots);

#endif
