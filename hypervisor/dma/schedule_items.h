/* The queues and transfers of a schedule, and their images for the device. */
#ifndef LVMM_DMA_SCHEDULE_ITEMS_H
#define LVMM_DMA_SCHEDULE_ITEMS_H

#include "dma/dma.h"

#define DMA_ITEM_SIZE    (DMA_ITEM_WORDS * 4) /* bytes of an image */
#define DMA_ITEM_BUCKETS 4096

/* All items are free. */
void dma_items_clear(struct dma_schedule *schedule);

/* The item that a link leads to. One that was not known is read, and new. DMA_ITEM_NONE: none, or
 * it is not RAM; or there is no free item, which is an error noted. */
u32 dma_items_follow(struct dma_device *device, u32 link);

/* Forgets an item, with its data. */
void dma_items_free(struct dma_schedule *schedule, u32 index);

/* The words of an item in the guest's memory; NULL: that is not RAM. */
const u32 *dma_item_words(struct dma_device *device, const struct dma_item *item);

bool dma_item_is_queue(const struct dma_schedule *schedule, const struct dma_item *item);

/* Bytes of its structure. */
u32 dma_item_size(const struct dma_schedule *schedule, const struct dma_item *item);

/* The word that the device writes. */
u32 dma_item_device_word(const struct dma_schedule *schedule, const struct dma_item *item);

/* Where word `word` of it is in the guest's memory. */
u64 dma_item_address(const struct dma_schedule *schedule, const struct dma_item *item, u32 word);

/* A link of the guest's to an item, as the device gets it; and back, with the item. */
u32 dma_link_for_device(const struct dma_schedule *schedule, u32 link, u32 target);
u32 dma_link_for_guest(const struct dma_schedule *schedule, u32 link, u32 *target);

#endif
