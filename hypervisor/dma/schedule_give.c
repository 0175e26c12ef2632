/* What the guest linked into its schedule, for the device. */
#include "dma/guest.h"
#include "dma/schedule_data.h"
#include "dma/schedule_items.h"
#include "dma/schedule_sync.h"
#include "lib/string.h"

#define FRAMES_TO_FORGET 2 /* after which the device is no longer at what nothing links to */

/* Two words at once: this is most of what a walk does. */
static bool differ(const u32 *a, const u32 *b, u32 count)
{
    u64 pair_a, pair_b;
    u32 i = 0;

    for (; i + 1 < count; i += 2) {
        __builtin_memcpy(&pair_a, &a[i], sizeof(pair_a));
        __builtin_memcpy(&pair_b, &b[i], sizeof(pair_b));
        if (pair_a != pair_b)
            return true;
    }
    return i < count && a[i] != b[i];
}

static void reach(struct dma_schedule *schedule, u32 index)
{
    if (index == DMA_ITEM_NONE || schedule->items[index].walk == schedule->walk)
        return;
    schedule->items[index].walk = schedule->walk;
    schedule->stack[schedule->stack_count++] = index;
}

static void follow_links(struct dma_device *device, struct dma_item *item)
{
    const struct dma_schedule_profile *profile = device->schedule.profile;

    if (dma_item_is_queue(&device->schedule, item)) {
        item->targets[0] = dma_items_follow(device, item->seen[profile->queue_link]);
        item->targets[1] = dma_items_follow(device, item->seen[profile->element]);
    } else {
        item->targets[0] = dma_items_follow(device, item->seen[profile->transfer_link]);
    }
}

static void put_in_order(struct dma_schedule *schedule, u32 index)
{
    struct dma_order *order = &schedule->order;

    if (dma_item_is_queue(schedule, &schedule->items[index]))
        order->indexes[schedule->profile->max_items - ++order->queues] = index;
    else
        order->indexes[order->transfers++] = index;
}

static void visit(struct dma_device *device, u32 index)
{
    struct dma_schedule *schedule = &device->schedule;
    struct dma_item *item = &schedule->items[index];
    const u32 *words = item->state != DMA_ITEM_NEW ? dma_item_words(device, item) : NULL;
    u32 at = dma_item_device_word(schedule, item), size = dma_item_size(schedule, item);
    bool changed = item->state != DMA_ITEM_LINKED;

    if (words != NULL) {
        item->is_touched = words[at] != item->seen[at];
        if (differ(words, item->seen, size / 4)) {
            changed = true;
            memcpy(item->seen, words, size);
        }
        item->state = DMA_ITEM_LINKED;
    }
    if (changed) {
        follow_links(device, item);
        schedule->changed[schedule->changed_count++] = index;
    }
    put_in_order(schedule, index);
    /* A queue's transfers come before the next queue. */
    reach(schedule, item->targets[0]);
    reach(schedule, item->targets[1]);
}

/* The guest's list of frames: where it is, if that is in one page of RAM, else a copy. */
static const u32 *guest_frames(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;
    u32 offset = schedule->guest_list & PAGE_MASK, bytes = 4 * profile->list_count;
    const u8 *page = NULL;

    if (offset + bytes <= PAGE_SIZE)
        page = device->env.guest_page(device->env.ctx, schedule->guest_list - offset);
    if (page != NULL)
        return (const u32 *)(page + offset);
    if (dma_read_guest(device, schedule->guest_list, schedule->frames_next, bytes) < 0)
        for (u32 i = 0; i < profile->list_count; i++)
            schedule->frames_next[i] = profile->link_none;
    return schedule->frames_next;
}

/* The frames, and the items to which they link. */
static void reach_frames(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;
    const u32 *links = guest_frames(device);

    if (schedule->frames_known && !differ(links, schedule->frames_seen, profile->list_count)) {
        for (u32 i = 0; i < schedule->root_count; i++)
            reach(schedule, schedule->roots[i]);
        return;
    }
    memcpy(schedule->frames_seen, links, 4 * profile->list_count);
    schedule->frames_known = false;
    for (u32 i = 0; i < profile->list_count; i++) {
        u32 link = schedule->frames_seen[i], target = dma_items_follow(device, link);

        schedule->frames_next[i] = dma_link_for_device(schedule, link, target);
        reach(schedule, target);
    }
    schedule->root_count = schedule->stack_count;
    memcpy(schedule->roots, schedule->stack, schedule->stack_count * sizeof(*schedule->roots));
}

static void put(u32 *image, u32 value)
{
    __atomic_store_n(image, value, __ATOMIC_RELEASE);
}

/* Changes the word that the device writes, too; unless it has done so just now: then the next
 * harvest brings both changes together. */
static void put_if_given(struct dma_schedule *schedule, struct dma_item *item, u32 *image,
                         u32 value)
{
    u32 expected = item->given, target;

    if (__atomic_compare_exchange_n(image, &expected, value, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        item->given = value;
    else if (dma_item_is_queue(schedule, item))
        item->seen[schedule->profile->element] = dma_link_for_guest(schedule, item->given, &target);
    else
        item->seen[schedule->profile->status] = item->given;
}

static void give_data(struct dma_device *device, struct dma_item *item)
{
    struct dma_schedule *schedule = &device->schedule;
    u32 active = schedule->profile->active_mask, *status = &item->seen[schedule->profile->status];
    bool was_active = item->state != DMA_ITEM_NEW && (item->given & active);

    if (!was_active)
        dma_data_release(schedule, item);
    if (!(*status & active))
        return;
    if (dma_data_give(device, item))
        device->stats.doorbells += !was_active;
    else
        *status &= ~active; /* the next walk tries again */
}

static void give_transfer(struct dma_schedule *schedule, u32 index)
{
    const struct dma_schedule_profile *profile = schedule->profile;
    struct dma_item *item = &schedule->items[index];
    u32 *image = schedule->images[index];

    for (u32 i = 0; i < profile->transfer_size / 4; i++)
        if (i == profile->transfer_link)
            put(&image[i], dma_link_for_device(schedule, item->seen[i], item->targets[0]));
        else if (i == profile->buffer)
            put(&image[i], dma_data_address(schedule, item));
        else if (i != profile->status)
            put(&image[i], item->seen[i]);
    if (item->state == DMA_ITEM_NEW)
        put(&image[profile->status], item->given = item->seen[profile->status]);
    else if (item->is_touched)
        put_if_given(schedule, item, &image[profile->status], item->seen[profile->status]);
}

static void give_queue(struct dma_schedule *schedule, u32 index)
{
    const struct dma_schedule_profile *profile = schedule->profile;
    struct dma_item *item = &schedule->items[index];
    u32 *image = schedule->images[index];
    u32 element = dma_link_for_device(schedule, item->seen[profile->element], item->targets[1]);

    put(&image[profile->queue_link],
        dma_link_for_device(schedule, item->seen[profile->queue_link], item->targets[0]));
    if (item->state == DMA_ITEM_NEW)
        put(&image[profile->element], item->given = element);
    else if (item->is_touched)
        put_if_given(schedule, item, &image[profile->element], element);
}

/* Images of queues or of transfers, of new items or of those that the device knows. */
static void give_images(struct dma_schedule *schedule, bool queues, bool are_new)
{
    for (u32 i = 0; i < schedule->changed_count; i++) {
        u32 index = schedule->changed[i];
        const struct dma_item *item = &schedule->items[index];

        if (dma_item_is_queue(schedule, item) != queues || (item->state == DMA_ITEM_NEW) != are_new)
            continue;
        if (queues)
            give_queue(schedule, index);
        else
            give_transfer(schedule, index);
    }
}

/* Everything is complete before something that the device knows links to it. */
static void give_changed(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;

    for (u32 i = 0; i < schedule->changed_count; i++) {
        struct dma_item *item = &schedule->items[schedule->changed[i]];

        if (!dma_item_is_queue(schedule, item))
            give_data(device, item);
    }
    give_images(schedule, false, true);
    give_images(schedule, true, true);
    give_images(schedule, false, false);
    give_images(schedule, true, false);
    for (u32 i = 0; i < schedule->changed_count; i++)
        schedule->items[schedule->changed[i]].state = DMA_ITEM_LINKED;
    if (!schedule->frames_known)
        for (u32 i = 0; i < schedule->profile->list_count; i++)
            put(&schedule->frames[i], schedule->frames_next[i]);
    schedule->frames_known = true;
}

static u32 read_frame(struct dma_device *device)
{
    return (u32)device->env.device_read(device->env.ctx, device->schedule.profile->frame.reg, 2);
}

/* Items at `indexes` that the walk did not reach. A queue and its transfers are forgotten together:
 * *frame is read once. */
static void forget(struct dma_device *device, const u32 *indexes, u32 count, u32 *frame)
{
    struct dma_schedule *schedule = &device->schedule;

    for (u32 i = 0; i < count; i++) {
        u32 index = indexes[i];
        struct dma_item *item = &schedule->items[index];

        if (item->walk == schedule->walk)
            continue;
        if (*frame == 0)
            *frame = read_frame(device) | ~schedule->profile->frame.mask;
        if (item->state == DMA_ITEM_LINKED) {
            item->state = DMA_ITEM_GONE;
            item->gone_since = *frame;
        }
        if (((*frame - item->gone_since) & schedule->profile->frame.mask) >= FRAMES_TO_FORGET)
            dma_items_free(schedule, index);
        else
            put_in_order(schedule, index);
    }
}

void dma_schedule_give(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;
    struct dma_order before = schedule->order;
    u32 frame = 0;

    schedule->order = schedule->order_before;
    schedule->order_before = before;
    schedule->order.transfers = schedule->order.queues = 0;
    schedule->changed_count = 0;
    schedule->walk++;
    reach_frames(device);
    while (schedule->stack_count != 0)
        visit(device, schedule->stack[--schedule->stack_count]);
    give_changed(device);
    forget(device, before.indexes, before.transfers, &frame);
    forget(device, before.indexes + schedule->profile->max_items - before.queues, before.queues,
           &frame);
}
