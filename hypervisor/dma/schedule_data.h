/* The data of a schedule's transfers: blocks of shadow memory that the device reads and writes. */
#ifndef LVMM_DMA_SCHEDULE_DATA_H
#define LVMM_DMA_SCHEDULE_DATA_H

#include "dma/dma.h"

#define DMA_BLOCK_SIZE 64 /* bytes: what a packet mostly has */

/* A range of guest memory that the device has written into blocks which follow each other. */
struct dma_data_run {
    u64 gpa;
    u32 offset, length;
};

void dma_data_clear(struct dma_schedule *schedule);

/* Makes the blocks of a transfer, as its words say it, and what is in them. False: no room now. */
bool dma_data_give(struct dma_device *device, struct dma_item *item);
void dma_data_release(struct dma_schedule *schedule, struct dma_item *item);

/* The device's address of a transfer's data. */
u32 dma_data_address(const struct dma_schedule *schedule, const struct dma_item *item);

/* Adds what the device may have written for a transfer to the run, and makes visible what no longer
 * belongs to it; without an item all of it. */
void dma_data_take(struct dma_device *device, struct dma_data_run *run,
                   const struct dma_item *item);

#endif
