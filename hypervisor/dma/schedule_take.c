/* What the device wrote into the images of a schedule: data, status, elements. */
#include "dma/guest.h"
#include "dma/schedule_data.h"
#include "dma/schedule_items.h"
#include "dma/schedule_sync.h"

static u32 *image_word(struct dma_schedule *schedule, u32 index)
{
    return &schedule->images[index][dma_item_device_word(schedule, &schedule->items[index])];
}

/* A queue goes on after its transfer's status is written, and that after the data: they are read
 * the other way round. */
static void read_images(struct dma_schedule *schedule, bool queues)
{
    for (u32 i = 0; i < schedule->order_count; i++) {
        u32 index = schedule->order[i];
        struct dma_item *item = &schedule->items[index];

        if (dma_item_is_queue(schedule, item) == queues)
            item->now = __atomic_load_n(image_word(schedule, index), __ATOMIC_ACQUIRE);
    }
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

static void write_word(struct dma_device *device, const struct dma_item *item, u32 word)
{
    const struct dma_schedule *schedule = &device->schedule;
    u64 address = dma_item_address(schedule, item, dma_item_device_word(schedule, item));

    dma_write_guest(device, DMA_STREAM_DESCRIPTORS(schedule->index), address, &word, sizeof(word));
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
        write_word(device, item, (word & of_guest) | (item->now & ~of_guest));
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
        write_word(device, item, link);
    *seen = link;
    item->given = item->now;
}

int dma_schedule_take(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;
    struct dma_data_run run = {.length = 0};
    int completed = 0;

    read_images(schedule, true);
    read_images(schedule, false);
    for (u32 i = 0; i < schedule->order_count; i++) {
        struct dma_item *item = &schedule->items[schedule->order[i]];

        if (item->now != item->given && !dma_item_is_queue(schedule, item))
            completed += take_transfer(device, &run, item);
    }
    dma_data_take(device, &run, NULL);
    for (u32 i = 0; i < schedule->order_count; i++) {
        struct dma_item *item = &schedule->items[schedule->order[i]];

        if (item->now != item->given && dma_item_is_queue(schedule, item))
            take_queue(device, item);
    }
    device->stats.completed += (u64)completed;
    return completed;
}
