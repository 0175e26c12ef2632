#include "boot/dma_streams.h"
#include "core/pci.h"
#include "core/profiled_devices.h"
#include "lib/string.h"

#define CRC_LENGTH 4 /* bytes, of Ethernet */

static struct log_dma_stream table[LOG_HINT_STREAMS];

static void put_name(u8 *field, u64 size, const char *name)
{
    u64 length = strlen(name);

    memcpy(field, name, length < size ? length : size);
}

static struct log_dma_stream describe_device(const struct dma_device *device, u16 bdf)
{
    u32 id = pci_read(bdf, PCI_VENDOR_ID);
    struct log_dma_stream stream = {
        .pci_address = bdf,
        .vendor = (u16)id,
        .device = (u16)(id >> 16),
    };

    put_name(stream.profile, sizeof(stream.profile), device->profile->name);
    return stream;
}

/* What the streams of a ring have in common. */
static struct log_dma_stream describe_ring(const struct dma_device *device, u16 bdf,
                                           const struct dma_ring *ring)
{
    struct log_dma_stream stream = describe_device(device, bdf);
    bool is_rx = ring->profile->direction == DMA_RX;

    stream.direction = is_rx ? LOG_DMA_DIRECTION_RX : LOG_DMA_DIRECTION_TX;
    stream.ring_index = (u8)ring->index;
    put_name(stream.ring, sizeof(stream.ring), ring->profile->name);
    return stream;
}

static void describe_descriptors(const struct dma_ring_profile *p, struct log_dma_stream *stream)
{
    stream->content = LOG_STREAM_CONTENT_DESCRIPTORS;
    stream->descriptor_size = (u8)p->descriptor_size;
    stream->write_back_offset = p->write_back.offset;
    stream->write_back_width = p->write_back.width;
    stream->done_offset = p->done.offset;
    stream->done_mask = p->done.mask;
    if (p->direction == DMA_RX) {
        stream->length_offset = p->payload_length.offset;
        stream->length_width = p->payload_length.width;
        stream->end_offset = p->end_of_packet.offset;
        stream->end_mask = p->end_of_packet.mask;
    }
}

/* All streams of a ring, with the engine's numbers; returns how many. */
static u32 describe_streams(const struct dma_ring *ring, u32 sent_max,
                            const struct log_dma_stream *common, struct log_dma_stream *out)
{
    bool is_rx = ring->profile->direction == DMA_RX;
    u32 count = 0;

    out[count] = *common;
    out[count].stream = DMA_STREAM_DESCRIPTORS(ring->index);
    describe_descriptors(ring->profile, &out[count++]);
    for (u32 flags = 0; flags <= (is_rx ? DMA_PAYLOAD_FLAGS : 0); flags++) {
        out[count] = *common;
        out[count].stream = DMA_STREAM_PAYLOAD(ring->index, flags);
        out[count].content = LOG_STREAM_CONTENT_PAYLOAD;
        out[count].continues = (flags & DMA_PAYLOAD_CONTINUES) != 0;
        out[count].crc_length = flags & DMA_PAYLOAD_CRC ? CRC_LENGTH : 0;
        out[count++].frame_max = is_rx ? 0 : sent_max;
    }
    return count;
}

/* The streams of what moves blocks, and has a status beside them: two, or the one of the blocks. */
static u32 describe_blocks(const struct dma_device *device, u16 bdf, u32 index, const char *name,
                           bool has_status, struct log_dma_stream *out)
{
    u32 count = 0;

    for (u32 blocks = !has_status; blocks <= 1; blocks++, count++) {
        out[count] = describe_device(device, bdf);
        out[count].stream =
            (u8)(blocks ? DMA_STREAM_PAYLOAD(index, 0) : DMA_STREAM_DESCRIPTORS(index));
        out[count].content = blocks ? LOG_STREAM_CONTENT_BLOCKS : LOG_STREAM_CONTENT_STATUS;
        out[count].direction = LOG_DMA_DIRECTION_RX;
        out[count].ring_index = (u8)index;
        put_name(out[count].ring, sizeof(out[count].ring), name);
    }
    return count;
}

/* A schedule's queues have a stream of their own. */
static u32 describe_schedule(const struct dma_device *device, u16 bdf, struct log_dma_stream *out)
{
    const struct dma_schedule *schedule = &device->schedule;
    u32 count = describe_blocks(device, bdf, schedule->index, schedule->profile->name, true, out);

    out[count] = out[0];
    out[count].stream = DMA_STREAM_ELEMENTS(schedule->index);
    return count + 1;
}

static u32 describe_channels(const struct dma_device *device, u16 bdf, struct log_dma_stream *out)
{
    const struct dma_profile *profile = device->profile;
    u32 count = 0;

    for (u32 i = 0; i < profile->channel_count; i++)
        count += describe_blocks(device, bdf, device->channels[i].index, profile->channels[i].name,
                                 false, &out[count]);
    for (u32 i = 0; i < profile->slots_count; i++)
        count += describe_blocks(device, bdf, device->slots[i].index, profile->slots[i].name, true,
                                 &out[count]);
    for (u32 i = 0; profile->queues != NULL && i < DMA_MAX_QUEUES; i++)
        count += describe_blocks(device, bdf, i, i == 0 ? "admin" : "io", true, &out[count]);
    if (profile->schedule != NULL)
        count += describe_schedule(device, bdf, &out[count]);
    return count;
}

static u32 describe(const struct profiled_device *d, struct log_dma_stream *out)
{
    u32 count = 0;

    for (u32 r = 0; r < d->dma.profile->ring_count; r++) {
        struct log_dma_stream common = describe_ring(&d->dma, d->bdf, &d->dma.rings[r]);

        count += describe_streams(&d->dma.rings[r], d->dma.env.sent_max, &common, &out[count]);
    }
    count += describe_channels(&d->dma, d->bdf, &out[count]);
    for (u32 i = 0; i < count; i++)
        out[i].stream = d->streams[out[i].stream];
    return count;
}

u32 dma_streams_describe(const struct log_dma_stream **streams)
{
    const struct profiled_device *d;
    u32 count = 0;

    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++)
        count += describe(d, &table[count]);
    *streams = table;
    return count;
}
