#include "dma/channel.h"
#include "dma/buffers.h"
#include "dma/guest.h"

#define LIST_BYTES 4 /* of the register with the list's address */

void dma_channel_init(struct dma_device *device, u32 index, u8 *memory, u64 phys, u64 size)
{
    struct dma_channel *channel = &device->channels[index];

    channel->profile = &device->profile->channels[index];
    channel->index = device->profile->ring_count + index;
    dma_buffers_init(&channel->buffers, &channel->profile->entries, memory, phys, size);
}

/* What the channel works on is the device's while it does. */
static void set_running(struct dma_device *device, struct dma_channel *channel, bool running)
{
    if (running != channel->running)
        dma_buffers_own(device, &channel->buffers, DMA_STREAM_PAYLOAD(channel->index, 0), running);
    channel->running = running;
}

void dma_channel_reset(struct dma_device *device, struct dma_channel *channel)
{
    channel->guest_list = 0;
    channel->command = 0;
    set_running(device, channel, false);
}

static void take_written(struct dma_device *device, struct dma_channel *channel)
{
    device->stats.rx_bytes +=
        dma_buffers_harvest(device, &channel->buffers, DMA_STREAM_PAYLOAD(channel->index, 0));
}

int dma_channel_harvest(struct dma_device *device, struct dma_channel *channel)
{
    const struct dma_channel_profile *profile = channel->profile;
    u8 status;

    if (!channel->running)
        return 0;
    status = (u8)device->env.device_read(device->env.ctx, profile->status, 1);
    /* What says that the device is done may be left from before: then there is more to come. */
    if ((status & profile->finished_mask) || !(status & profile->active_mask))
        take_written(device, channel);
    if (status & profile->active_mask)
        return 0;
    set_running(device, channel, false);
    device->stats.completed++;
    if (channel->buffers.is_cut)
        dma_note_error(device, "a command's buffers do not fit the DMA shadow area: let the "
                               "guest's driver transfer less at once, or give memory.monitor_mib "
                               "in the board's file more");
    return 1;
}

static void start(struct dma_device *device, struct dma_channel *channel, bool to_memory)
{
    const struct dma_channel_profile *profile = channel->profile;
    u64 bytes = dma_buffers_map(device, &channel->buffers, channel->guest_list,
                                profile->entries.max_entries + 1, to_memory);

    device->stats.doorbells++;
    if (!to_memory)
        device->stats.tx_bytes += bytes;
    set_running(device, channel, true);
    dma_write_register(device, profile->list, LIST_BYTES, channel->buffers.list_phys);
}

/* A command that is stopped has done what it has done. */
static void stop(struct dma_device *device, struct dma_channel *channel, u8 value)
{
    dma_write_register(device, channel->profile->command, 1, value);
    if (!channel->running)
        return;
    take_written(device, channel);
    set_running(device, channel, false);
    device->stats.completed++;
}

static void set_command(struct dma_device *device, struct dma_channel *channel, u8 value)
{
    const struct dma_channel_profile *profile = channel->profile;
    bool was_started = channel->command & profile->start_mask;

    if (was_started && (value & profile->start_mask)) {
        /* No manual says what another direction in mid-flight is. */
        if ((value ^ channel->command) & profile->to_memory_mask)
            device->stats.refused_writes++;
        value =
            (u8)((value & ~profile->to_memory_mask) | (channel->command & profile->to_memory_mask));
    }
    channel->command = value;
    if (!(value & profile->start_mask)) {
        stop(device, channel, value);
        return;
    }
    if (!was_started)
        start(device, channel, value & profile->to_memory_mask);
    dma_write_register(device, profile->command, 1, value);
}

static bool is_list(const struct dma_channel *channel, u32 reg)
{
    return reg - channel->profile->list < LIST_BYTES;
}

/* The channel that has this register itself or its list's address there. */
static struct dma_channel *find_channel(struct dma_device *device, u32 reg)
{
    for (u32 i = 0; i < device->profile->channel_count; i++) {
        struct dma_channel *channel = &device->channels[i];

        if (reg == channel->profile->command || is_list(channel, reg))
            return channel;
    }
    return NULL;
}

static void write_byte(struct dma_device *device, u32 reg, u8 value)
{
    struct dma_channel *channel = find_channel(device, reg);
    u32 shift;

    if (channel == NULL) {
        dma_write_register(device, reg, 1, value);
    } else if (is_list(channel, reg)) {
        shift = 8 * (reg - channel->profile->list);
        channel->guest_list = (channel->guest_list & ~(0xffU << shift)) | (u32)value << shift;
        channel->guest_list &= ~(channel->profile->list_align - 1);
    } else {
        set_command(device, channel, value);
    }
}

bool dma_channels_write(struct dma_device *device, u32 reg, u8 size, u64 value)
{
    bool concerns = false;

    for (u32 i = 0; i < size; i++)
        concerns = concerns || find_channel(device, reg + i) != NULL;
    for (u32 i = 0; concerns && i < size; i++)
        write_byte(device, reg + i, (u8)(value >> (8 * i)));
    return concerns;
}

u64 dma_channels_view(const struct dma_device *device, u32 reg, u8 size, u64 value)
{
    for (u32 i = 0; i < size; i++)
        for (u32 c = 0; c < device->profile->channel_count; c++) {
            const struct dma_channel *channel = &device->channels[c];
            u32 at = reg + i - channel->profile->list;

            if (is_list(channel, reg + i))
                value = (value & ~(0xffULL << (8 * i))) |
                        (u64)(channel->guest_list >> (8 * at) & 0xff) << (8 * i);
        }
    return value;
}
