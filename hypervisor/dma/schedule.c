#include "dma/schedule.h"
#include "dma/guest.h"
#include "dma/schedule_data.h"
#include "dma/schedule_items.h"
#include "dma/schedule_sync.h"
#include "lib/string.h"

#define LIST_BYTES    4 /* of the register with the list's address */
#define COMMAND_BYTES 2
#define BLOCKS_MAX    0xffff /* that an item can tell apart */
#define LENGTH_MAX    0xffff /* bytes of a transfer */

/* --- the shadow area: the device's list and images, what is known of the guest's, blocks --- */

static u64 list_room(const struct dma_schedule_profile *profile)
{
    return ALIGN_UP(4ULL * profile->list_count, PAGE_SIZE);
}

static u64 items_room(const struct dma_schedule_profile *profile)
{
    const u64 each = sizeof(struct dma_item) + DMA_ITEM_SIZE + 5 * sizeof(u32);

    return ALIGN_UP(profile->max_items * each + DMA_ITEM_BUCKETS * sizeof(u32), PAGE_SIZE);
}

u64 dma_schedule_minimum(const struct dma_profile *profile)
{
    const struct dma_schedule_profile *schedule = profile->schedule;

    if (schedule == NULL)
        return 0;
    return 3 * list_room(schedule) + items_room(schedule) + 3 * ALIGN_UP(LENGTH_MAX, PAGE_SIZE);
}

static void *take(u8 **memory, u64 size)
{
    u8 *taken = *memory;

    *memory += size;
    return taken;
}

void dma_schedule_init(struct dma_device *device, u8 *memory, u64 phys, u64 size)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = device->profile->schedule;
    u8 *at = memory;
    u64 blocks;

    if (profile == NULL)
        return;
    schedule->profile = profile;
    schedule->frames = take(&at, list_room(profile));
    schedule->frames_phys = phys;
    schedule->frames_seen = take(&at, list_room(profile));
    schedule->frames_next = take(&at, list_room(profile));
    schedule->images_phys = phys + (u64)(at - memory);
    schedule->images = take(&at, (u64)profile->max_items * DMA_ITEM_SIZE);
    schedule->items = take(&at, profile->max_items * sizeof(struct dma_item));
    schedule->roots = take(&at, profile->max_items * sizeof(u32));
    schedule->order.indexes = take(&at, profile->max_items * sizeof(u32));
    schedule->order_before.indexes = take(&at, profile->max_items * sizeof(u32));
    schedule->stack = take(&at, profile->max_items * sizeof(u32));
    schedule->changed = take(&at, profile->max_items * sizeof(u32));
    schedule->buckets = take(&at, DMA_ITEM_BUCKETS * sizeof(u32));
    at = memory + 3 * list_room(profile) + items_room(profile);
    blocks = (size - (u64)(at - memory)) / (2 * DMA_BLOCK_SIZE + 1);
    schedule->block_count = blocks < BLOCKS_MAX ? (u32)blocks : BLOCKS_MAX;
    schedule->data_phys = phys + (u64)(at - memory);
    schedule->data = take(&at, (u64)schedule->block_count * DMA_BLOCK_SIZE);
    schedule->data_before = take(&at, (u64)schedule->block_count * DMA_BLOCK_SIZE);
    schedule->block_used = at;
}

void dma_schedule_reset(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;

    if (schedule->profile == NULL)
        return;
    schedule->guest_list = 0;
    schedule->started = false;
    schedule->active = false;
    for (u32 i = 0; i < schedule->profile->list_count; i++)
        schedule->frames[i] = schedule->profile->link_none;
    dma_items_clear(schedule);
}

/* --- harvest --- */

/* After the device has stopped, its work is complete with one more harvest. */
int dma_schedule_harvest(struct dma_device *device)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_register_bits *halted;

    if (!schedule->active)
        return 0;
    halted = &schedule->profile->halted;
    schedule->active = schedule->started ||
                       !(device->env.device_read(device->env.ctx, halted->reg, 2) & halted->mask);
    return dma_schedule_take(device);
}

void dma_schedule_find_work(struct dma_device *device)
{
    if (!device->schedule.active)
        return;
    dma_schedule_harvest(device);
    dma_schedule_give(device);
}

/* --- registers --- */

static void write_command(struct dma_device *device, u32 reg, u8 size, u64 value, u16 bits)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;

    if (bits & profile->reset_mask) {
        dma_write_register(device, reg, size, value);
        dma_schedule_take(device);
        dma_schedule_reset(device);
        return;
    }
    if ((bits & profile->start_mask) && !schedule->started) {
        schedule->started = true;
        schedule->active = true;
        dma_schedule_find_work(device);
        dma_write_register(device, profile->list, LIST_BYTES, schedule->frames_phys);
    }
    schedule->started = (bits & profile->start_mask) != 0;
    dma_write_register(device, reg, size, value);
}

static bool overlaps(u32 reg, u8 size, u32 other, u32 bytes)
{
    return reg < other + bytes && other < reg + size;
}

bool dma_schedule_write(struct dma_device *device, u32 reg, u8 size, u64 value)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;
    bool forward = true;

    if (overlaps(reg, size, profile->list, LIST_BYTES)) {
        /* The manual knows writes of the whole register. */
        if (reg != profile->list || size != LIST_BYTES) {
            dma_refuse(device, &forward);
            return forward;
        }
        schedule->guest_list = (u32)value & ~(profile->list_align - 1);
        dma_schedule_find_work(device);
        dma_write_register(device, profile->list, LIST_BYTES, schedule->frames_phys);
        return false;
    }
    if (reg == profile->command && size >= COMMAND_BYTES) {
        dma_schedule_find_work(device);
        write_command(device, reg, size, value, (u16)value);
        return false;
    }
    if (overlaps(reg, size, profile->command, COMMAND_BYTES))
        dma_refuse(device, &forward);
    return forward;
}

/* Registers are read a second time, with what the guest has linked before in the device's hands:
 * else a frame that the guest sees as begun could be one without. */
u64 dma_schedule_read(struct dma_device *device, u32 reg, u8 size, u64 value)
{
    const struct dma_schedule *schedule = &device->schedule;

    if (schedule->active) {
        dma_schedule_find_work(device);
        value = device->env.device_read(device->env.ctx, reg, size);
        dma_schedule_take(device);
    }
    for (u32 i = 0; i < size; i++) {
        u32 at = reg + i - schedule->profile->list;

        if (at < LIST_BYTES)
            value = (value & ~(0xffULL << (8 * i))) | (u64)(schedule->guest_list >> (8 * at) & 0xff)
                                                          << (8 * i);
    }
    return value;
}
