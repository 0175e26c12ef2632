#include "dma/schedule_data.h"
#include "dma/buffers.h"
#include "dma/guest.h"
#include "lib/string.h"

void dma_data_clear(struct dma_schedule *schedule)
{
    memset(schedule->block_used, 0, schedule->block_count);
    schedule->next_block = 0;
}

void dma_data_release(struct dma_schedule *schedule, struct dma_item *item)
{
    memset(schedule->block_used + item->block, 0, item->blocks);
    item->blocks = 0;
}

static bool is_free(const struct dma_schedule *schedule, u32 first, u32 count)
{
    for (u32 i = first; i < first + count; i++)
        if (schedule->block_used[i])
            return false;
    return true;
}

/* From where the last ones were taken on, so that the packets of a transfer lie behind each other
 * as they do in the guest's memory. */
static bool take_blocks(struct dma_schedule *schedule, u32 count, struct dma_item *item)
{
    u32 first = schedule->next_block;

    for (u32 tried = 0; tried < schedule->block_count; tried++, first++) {
        if (first + count > schedule->block_count)
            first = 0;
        if (is_free(schedule, first, count)) {
            memset(schedule->block_used + first, 1, count);
            schedule->next_block = first + count;
            item->block = (u16)first;
            item->blocks = (u16)count;
            return true;
        }
    }
    return false;
}

static u8 *data_of(const struct dma_schedule *schedule, const struct dma_item *item)
{
    return schedule->data + (u64)item->block * DMA_BLOCK_SIZE;
}

/* As the guest's memory is, where that is RAM, else zeros. */
static void fill(struct dma_device *device, const struct dma_item *item)
{
    struct dma_schedule *schedule = &device->schedule;
    u8 *data = data_of(schedule, item);

    for (u32 done = 0, part; done < item->length; done += part) {
        part = dma_page_part(item->buffer + done, item->length - done);
        if (dma_read_guest(device, (u64)item->buffer + done, data + done, part) < 0)
            memset(data + done, 0, part);
    }
    memset(data + item->length, 0, (u32)item->blocks * DMA_BLOCK_SIZE - item->length);
    if (item->to_memory)
        memcpy(schedule->data_before + (data - schedule->data), data, item->length);
    else
        device->stats.tx_bytes += item->length;
}

static u32 length_of(const struct dma_schedule_profile *profile, const struct dma_item *item)
{
    u32 unit = profile->length_mask & -profile->length_mask;
    u32 field = (item->seen[profile->length] & profile->length_mask) / unit;

    return (field + profile->length_add) & (profile->length_mask / unit);
}

bool dma_data_give(struct dma_device *device, struct dma_item *item)
{
    struct dma_schedule *schedule = &device->schedule;
    const struct dma_schedule_profile *profile = schedule->profile;
    bool to_memory = (item->seen[profile->kind] & profile->kind_mask) == profile->kind_to_memory;
    u32 buffer = item->seen[profile->buffer], length = length_of(profile, item);
    u32 blocks = (u32)ALIGN_UP(length, DMA_BLOCK_SIZE) / DMA_BLOCK_SIZE;

    /* The device's addresses end at 4 GiB. */
    if (buffer + (u64)length > BIT(32))
        length = -buffer;
    if (item->blocks != 0 && item->buffer == buffer && item->to_memory == to_memory &&
        item->blocks == blocks && item->length == length)
        return true;
    dma_data_release(schedule, item);
    if (blocks == 0)
        return true;
    if (!take_blocks(schedule, blocks, item))
        return false;
    item->buffer = buffer;
    item->length = (u16)length;
    item->to_memory = to_memory;
    fill(device, item);
    return true;
}

u32 dma_data_address(const struct dma_schedule *schedule, const struct dma_item *item)
{
    u32 block = item->blocks != 0 ? item->block : 0;

    return (u32)(schedule->data_phys + (u64)block * DMA_BLOCK_SIZE);
}

void dma_data_take(struct dma_device *device, struct dma_data_run *run, const struct dma_item *item)
{
    struct dma_schedule *schedule = &device->schedule;
    u32 offset = item != NULL ? (u32)item->block * DMA_BLOCK_SIZE : 0;

    if (item != NULL && (item->blocks == 0 || !item->to_memory))
        return;
    if (item != NULL && run->length != 0 && run->gpa + run->length == item->buffer &&
        run->offset + run->length == offset) {
        run->length += item->length;
        return;
    }
    if (run->length != 0)
        device->stats.rx_bytes += dma_harvest_changes(
            device, DMA_STREAM_PAYLOAD(schedule->index, 0), run->gpa, schedule->data + run->offset,
            schedule->data_before + run->offset, run->length);
    if (item != NULL)
        *run = (struct dma_data_run){item->buffer, offset, item->length};
    else
        run->length = 0;
}
