/* A schedule and its images are brought together: what the guest did goes to the device, what the
 * device did to the guest. */
#ifndef LVMM_DMA_SCHEDULE_SYNC_H
#define LVMM_DMA_SCHEDULE_SYNC_H

#include "dma/dma.h"

/* Makes visible what the device wrote; returns the number of transfers completed. */
int dma_schedule_take(struct dma_device *device);

/* Walks the guest's list, and gives the device what is new in it. */
void dma_schedule_give(struct dma_device *device);

#endif
