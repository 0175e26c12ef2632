#include "dma/schedule_items.h"
#include "dma/guest.h"
#include "dma/schedule_data.h"
#include "lib/string.h"

#define HASH_FACTOR 0x9e3779b1U /* 2^32 by the golden ratio */
#define HASH_SHIFT  20          /* leaves the bits of DMA_ITEM_BUCKETS */

static u32 *bucket_of(const struct dma_schedule *schedule, u32 key)
{
    return &schedule->buckets[key * HASH_FACTOR >> HASH_SHIFT];
}

void dma_items_clear(struct dma_schedule *schedule)
{
    for (u32 i = 0; i < DMA_ITEM_BUCKETS; i++)
        schedule->buckets[i] = DMA_ITEM_NONE;
    for (u32 i = 0; i < schedule->profile->max_items; i++) {
        schedule->items[i].state = DMA_ITEM_FREE;
        schedule->items[i].next = i + 1 < schedule->profile->max_items ? i + 1 : DMA_ITEM_NONE;
    }
    schedule->free_item = 0;
    schedule->order.transfers = schedule->order.queues = 0;
    schedule->root_count = 0;
    schedule->frames_known = false;
    dma_data_clear(schedule);
}

bool dma_item_is_queue(const struct dma_schedule *schedule, const struct dma_item *item)
{
    return (item->key & schedule->profile->link_queue) != 0;
}

u32 dma_item_device_word(const struct dma_schedule *schedule, const struct dma_item *item)
{
    return dma_item_is_queue(schedule, item) ? schedule->profile->element
                                             : schedule->profile->status;
}

u32 dma_item_size(const struct dma_schedule *schedule, const struct dma_item *item)
{
    return dma_item_is_queue(schedule, item) ? schedule->profile->queue_size
                                             : schedule->profile->transfer_size;
}

u64 dma_item_address(const struct dma_schedule *schedule, const struct dma_item *item, u32 word)
{
    return (u64)(item->key & schedule->profile->link_address) + 4ULL * word;
}

/* It never reaches into another page: it is no larger than what its address is a multiple of. */
const u32 *dma_item_words(struct dma_device *device, const struct dma_item *item)
{
    u64 gpa = dma_item_address(&device->schedule, item, 0);
    const u8 *page = device->env.guest_page(device->env.ctx, gpa & ~PAGE_MASK);

    if (page == NULL) {
        device->stats.guest_faults++;
        return NULL;
    }
    return (const u32 *)(page + (gpa & PAGE_MASK));
}

u32 dma_items_follow(struct dma_device *device, u32 link)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;
    u32 key = link & (profile->link_address | profile->link_queue);
    u32 *bucket = bucket_of(schedule, key), index;
    struct dma_item *item;
    const u32 *words;

    if (link & profile->link_none)
        return DMA_ITEM_NONE;
    for (index = *bucket; index != DMA_ITEM_NONE; index = schedule->items[index].next)
        if (schedule->items[index].key == key)
            return index;
    index = schedule->free_item;
    if (index == DMA_ITEM_NONE) {
        dma_note_error(device, "the guest's driver has linked more transfers than the DMA shadow "
                               "area holds");
        return DMA_ITEM_NONE;
    }
    item = &schedule->items[index];
    item->key = key;
    words = dma_item_words(device, item);
    if (words == NULL)
        return DMA_ITEM_NONE;
    memcpy(item->seen, words, dma_item_size(schedule, item));
    schedule->free_item = item->next;
    item->next = *bucket;
    *bucket = index;
    item->state = DMA_ITEM_NEW;
    item->walk = 0;
    item->blocks = 0;
    item->is_touched = true;
    item->targets[0] = DMA_ITEM_NONE;
    item->targets[1] = DMA_ITEM_NONE;
    return index;
}

void dma_items_free(struct dma_schedule *schedule, u32 index)
{
    struct dma_item *item = &schedule->items[index];
    u32 *place = bucket_of(schedule, item->key);

    dma_data_release(schedule, item);
    while (*place != index)
        place = &schedule->items[*place].next;
    *place = item->next;
    item->state = DMA_ITEM_FREE;
    item->next = schedule->free_item;
    schedule->free_item = index;
}

u32 dma_link_for_device(const struct dma_schedule *schedule, u32 link, u32 target)
{
    const struct dma_schedule_profile *profile = schedule->profile;

    if (target == DMA_ITEM_NONE)
        return link | profile->link_none;
    return (u32)(schedule->images_phys + (u64)target * DMA_ITEM_SIZE) |
           (link & ~profile->link_address);
}

u32 dma_link_for_guest(const struct dma_schedule *schedule, u32 link, u32 *target)
{
    const struct dma_schedule_profile *profile = schedule->profile;
    u64 offset = (link & profile->link_address) - schedule->images_phys;
    u64 index = offset / DMA_ITEM_SIZE;

    *target = DMA_ITEM_NONE;
    if (link & profile->link_none)
        return link;
    if (index >= profile->max_items || schedule->items[index].state == DMA_ITEM_FREE)
        return profile->link_none;
    *target = (u32)index;
    return (schedule->items[index].key & profile->link_address) | (link & ~profile->link_address);
}
