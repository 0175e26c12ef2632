/*
 * Memory that a driver declares itself, for devices that no profile describes. Each area of guest
 * memory has a shadow, whose address the device is given.
 *
 * A streaming area belongs either to the driver or to the device: it is copied where it changes
 * hands. A shared area (descriptor rings, cyclic buffers) is used by both at once: at each harvest
 * what the device changed goes into the guest's memory and is logged, and what the guest changed
 * goes to the device. A byte that both changed becomes the device's.
 */
#ifndef LVMM_DMA_AREAS_H
#define LVMM_DMA_AREAS_H

#include "dma/dma.h"

/* Bytes of shadow memory below which no area fits. */
u64 dma_areas_minimum(void);

/* `memory`, page-aligned, is the areas' part of the shadow area. */
void dma_areas_init(struct dma_areas *areas, u8 *memory, u64 phys, u64 size);

/* Gives the memory of `area`, whose `page` does not count, a shadow, which begins as the guest's
 * memory is; *address: for the device. ERR_INVALID: the length is 0; ERR_FAULT: not all of it is
 * RAM; ERR_NO_SPACE: too little shadow memory is left. */
int dma_area_map(struct dma_device *device, const struct dma_area *area, u64 *address);

/* A range of the device's addresses changes hands; if it is shared, all that is shared is
 * harvested. ERR_INVALID: it is not in an area of `owner`. */
int dma_area_sync_for_cpu(struct dma_device *device, u32 owner, u64 address, u64 length);
int dma_area_sync_for_device(struct dma_device *device, u32 owner, u64 address, u64 length);

/* The driver gets the area back that has this address, and the device has it no more. */
int dma_area_unmap(struct dma_device *device, u32 owner, u64 address);
/* Forgets all areas of `owner`. */
void dma_areas_release(struct dma_device *device, u32 owner);

/* Brings shared areas up to date on both sides; returns the bytes that the device changed. */
u64 dma_areas_harvest(struct dma_device *device);

#endif
