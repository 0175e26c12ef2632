#include "core/dma_log.h"
#include "arch/cpu.h"
#include "core/passthrough.h"
#include "core/pci.h"
#include "core/triggers.h"
#include "dma/dma.h"
#include "lib/string.h"
#include "replay/session.h"

#define CRC_LENGTH 4 /* bytes, of Ethernet */

static struct log_dma_stream table[PASSTHROUGH_DEVICES_MAX * PASSTHROUGH_DEVICE_STREAMS];

static bool transferred; /* something was logged that has no time yet */

_Static_assert(DMA_SENT_FIRST == LOG_SENT_FLAG_FIRST && DMA_SENT_LAST == LOG_SENT_FLAG_LAST &&
                   DMA_SENT_SEGMENTED == LOG_SENT_FLAG_SEGMENTED,
               "the engine's flags are the log's");

static bool wanted(void)
{
    return session_recording() && !session_ended();
}

void dma_log_write(struct vcpu *vcpu, u8 stream, u64 gpa, const void *data, u32 len)
{
    if (!wanted())
        return;
    if (stream % DMA_STREAMS_PER_RING != DMA_STREAM_DESCRIPTORS(0))
        triggers_packet(vcpu, data, len);
    session_record_dma(vcpu, stream, gpa, data, len);
    transferred = true;
}

int dma_log_sent(struct vcpu *vcpu, u8 stream, u8 flags, u32 length, const void *data, u32 len)
{
    struct log_event e = {
        .kind = LOG_EVENT_SENT,
        .payload.sent = {stream, flags, length},
        .data = data,
        .data_len = len,
    };

    if (!wanted())
        return ERR_END;
    transferred = true;
    return session_note(vcpu, &e);
}

void dma_log_time(struct vcpu *vcpu)
{
    struct log_event e = {.kind = LOG_EVENT_TIME};

    if (!transferred)
        return;
    transferred = false;
    e.payload.time.tsc = rdtsc();
    if (wanted())
        session_note(vcpu, &e);
}

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

/* All streams of a ring; returns their number. `first` is the number of the device's first. */
static u32 describe_streams(const struct dma_ring *ring, u32 first, u32 sent_max,
                            const struct log_dma_stream *common, struct log_dma_stream *out)
{
    bool is_rx = ring->profile->direction == DMA_RX;
    u32 count = 0;

    out[count] = *common;
    out[count].stream = (u8)(first + DMA_STREAM_DESCRIPTORS(ring->index));
    describe_descriptors(ring->profile, &out[count++]);
    for (u32 flags = 0; flags <= (is_rx ? DMA_PAYLOAD_FLAGS : 0); flags++) {
        out[count] = *common;
        out[count].stream = (u8)(first + DMA_STREAM_PAYLOAD(ring->index, flags));
        out[count].content = LOG_STREAM_CONTENT_PAYLOAD;
        out[count].continues = (flags & DMA_PAYLOAD_CONTINUES) != 0;
        out[count].crc_length = flags & DMA_PAYLOAD_CRC ? CRC_LENGTH : 0;
        out[count++].frame_max = is_rx ? 0 : sent_max;
    }
    return count;
}

static struct log_dma_stream describe_commands(const struct dma_device *device, u16 bdf, u32 index,
                                               const char *name, u8 stream_number, u8 content)
{
    struct log_dma_stream stream = describe_device(device, bdf);

    stream.stream = stream_number;
    stream.content = content;
    stream.direction = LOG_DMA_DIRECTION_RX;
    stream.ring_index = (u8)index;
    put_name(stream.ring, sizeof(stream.ring), name);
    return stream;
}

static u32 describe_channels(const struct dma_device *device, u16 bdf, u32 first,
                             struct log_dma_stream *out)
{
    u32 count = 0;

    for (u32 i = 0; i < device->profile->channel_count; i++) {
        const struct dma_channel *channel = &device->channels[i];

        out[count++] = describe_commands(device, bdf, channel->index, channel->profile->name,
                                         (u8)(first + DMA_STREAM_PAYLOAD(channel->index, 0)),
                                         LOG_STREAM_CONTENT_BLOCKS);
    }
    for (u32 i = 0; i < device->profile->slots_count; i++) {
        const struct dma_slots *slots = &device->slots[i];

        out[count++] = describe_commands(device, bdf, slots->index, slots->profile->name,
                                         (u8)(first + DMA_STREAM_DESCRIPTORS(slots->index)),
                                         LOG_STREAM_CONTENT_STATUS);
        out[count++] = describe_commands(device, bdf, slots->index, slots->profile->name,
                                         (u8)(first + DMA_STREAM_PAYLOAD(slots->index, 0)),
                                         LOG_STREAM_CONTENT_BLOCKS);
    }
    for (u32 i = 0; device->profile->queues != NULL && i < DMA_MAX_QUEUES; i++) {
        const char *name = i == 0 ? "admin" : "io";

        out[count++] =
            describe_commands(device, bdf, i, name, (u8)(first + DMA_STREAM_DESCRIPTORS(i)),
                              LOG_STREAM_CONTENT_STATUS);
        out[count++] =
            describe_commands(device, bdf, i, name, (u8)(first + DMA_STREAM_PAYLOAD(i, 0)),
                              LOG_STREAM_CONTENT_BLOCKS);
    }
    if (device->profile->schedule != NULL) {
        const struct dma_schedule *schedule = &device->schedule;

        out[count++] = describe_commands(device, bdf, schedule->index, schedule->profile->name,
                                         (u8)(first + DMA_STREAM_DESCRIPTORS(schedule->index)),
                                         LOG_STREAM_CONTENT_STATUS);
        out[count++] = describe_commands(device, bdf, schedule->index, schedule->profile->name,
                                         (u8)(first + DMA_STREAM_PAYLOAD(schedule->index, 0)),
                                         LOG_STREAM_CONTENT_BLOCKS);
    }
    return count;
}

u32 dma_log_streams(const struct log_dma_stream **streams)
{
    const struct dma_device *device;
    u32 count = 0;
    u16 bdf;

    for (unsigned int i = 0; (device = passthrough_device(i, &bdf)) != NULL; i++) {
        u32 first = i * PASSTHROUGH_DEVICE_STREAMS;

        for (u32 r = 0; r < device->profile->ring_count; r++) {
            struct log_dma_stream common = describe_ring(device, bdf, &device->rings[r]);

            count += describe_streams(&device->rings[r], first, device->env.sent_max, &common,
                                      &table[count]);
        }
        count += describe_channels(device, bdf, first, &table[count]);
    }
    *streams = table;
    return count;
}
