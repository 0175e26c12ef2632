/* What the device wrote into the images of a schedule: data, status, elements. */
#include "dma/guest.h"
#include "dma/schedule_data.h"
#include "dma/schedule_items.h"
#include "dma/schedule_sync.h"

/* Notes which of the items at `indexes` the device has written, in front of place `first` of the
 * changed ones; returns the first one's place. The last item is read first: where one is done,
 * those before it have been. */
static u32 read_images(struct dma_schedule *schedule, const u32 *indexes, u32 count, u32 word,
                       u32 first)
{
    while (count-- > 0) {
        u32 index = indexes[count];
        struct dma_item *item = &schedule->items[index];

        item->now = __atomic_load_n(&schedule->images[index][word], __ATOMIC_ACQUIRE);
        if (item->now != item->given)
            schedule->changed[--first] = index;
    }
    return first;
}

/* A queue goes on after its transfer's status is written, and that after the data: they are read
 * the other way round. Returns the place of the first changed item: the last is at max_items - 1.
 */
static u32 read_all_images(struct dma_schedule *schedule)
{
    const struct dma_schedule_profile *profile = schedule->profile;
    const struct dma_order *order = &schedule->order;
    const u32 *queues = order->indexes + profile->max_items - order->queues;
    u32 first = read_images(schedule, queues, order->queues, profile->element, profile->max_items);

    return read_images(schedule, order->indexes, order->transfers, profile->status, first);
}

/* The word that the device has written, as it is in the guest's memory. False: the guest has other
 * uses for that memory now. */
static bool read_word(struct dma_device *device, const struct dma_item *item, u32 *word)
{
    const struct dma_schedule *schedule = &device->schedule;
    u32 at = dma_item_device_word(schedule, item);

    if (dma_read_guest(device, dma_item_address(schedule, item, at), word, sizeof(*word)) < 0)
        return false;
    return item->state != DMA_ITEM_GONE || *word == item->seen[at];
}

static void write_word(struct dma_device *device, u8 stream, const struct dma_item *item, u32 word)
{
    const struct dma_schedule *schedule = &device->schedule;
    u64 address = dma_item_address(schedule, item, dma_item_device_word(schedule, item));

    dma_write_guest(device, stream, address, &word, sizeof(word));
}

/* Where both have written, the guest's bits stay, and the walk finds that they are others than the
 * device's. */
static bool take_transfer(struct dma_device *device, struct dma_data_run *run,
                          struct dma_item *item)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;
    bool is_done = (item->given & profile->active_mask) && !(item->now & profile->active_mask);
    u32 word, of_guest;

    if (read_word(device, item, &word)) {
        dma_data_take(device, run, item);
        of_guest = word ^ item->seen[profile->status];
        write_word(device, DMA_STREAM_DESCRIPTORS(schedule->index), item,
                   (word & of_guest) | (item->now & ~of_guest));
    }
    item->seen[profile->status] = item->now;
    item->given = item->now;
    if (is_done)
        dma_data_release(schedule, item);
    return is_done;
}

/* Where both have written, the guest's link stays: the device was there before. */
static void take_queue(struct dma_device *device, struct dma_item *item)
{
    struct dma_schedule *schedule = &device->schedule;
    u32 *seen = &item->seen[schedule->profile->element];
    u32 link = dma_link_for_guest(schedule, item->now, &item->targets[1]), word;

    if (read_word(device, item, &word) && word == *seen)
        write_word(device, DMA_STREAM_ELEMENTS(schedule->index), item, link);
    *seen = link;
    item->given = item->now;
}

int dma_schedule_take(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;
    struct dma_data_run run = {.length = 0};
    u32 i = read_all_images(schedule), end = schedule->profile->max_items;
    int completed = 0;

    for (; i < end; i++) {
        struct dma_item *item = &schedule->items[schedule->changed[i]];

        if (dma_item_is_queue(schedule, item))
            break;
        completed += take_transfer(device, &run, item);
    }
    dma_data_take(device, &run, NULL);
    for (; i < end; i++)
        take_queue(device, &schedule->items[schedule->changed[i]]);
    device->stats.completed += (u64)completed;
    return completed;
}
