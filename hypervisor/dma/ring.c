#include "dma/ring.h"
#include "dma/guest.h"
#include "lib/string.h"

/* Guest descriptors are read in batches of at most this many bytes. */
#define BATCH_SIZE 256

bool dma_is_last(const struct dma_ring_profile *profile, const u8 *descriptor)
{
    struct dma_bit end = profile->end_of_packet;

    return end.mask == 0 || (descriptor[end.offset] & end.mask) != 0;
}

static u32 wrap(const struct dma_ring *ring, u32 index)
{
    return index >= ring->count ? index - ring->count : index;
}

static u32 distance(const struct dma_ring *ring, u32 from, u32 to)
{
    return wrap(ring, to + ring->count - from);
}

static u8 *shadow_descriptor(const struct dma_ring *ring, u32 index)
{
    return ring->descriptors + (u64)index * ring->profile->descriptor_size;
}

/* The device sets this byte after it wrote all the rest. */
static bool is_done(const struct dma_ring *ring, u32 index)
{
    const u8 *status = shadow_descriptor(ring, index) + ring->profile->done.offset;

    return (__atomic_load_n(status, __ATOMIC_ACQUIRE) & ring->profile->done.mask) != 0;
}

static bool reports(const struct dma_ring *ring, u32 index)
{
    struct dma_bit report = ring->profile->report;

    return report.mask == 0 || (shadow_descriptor(ring, index)[report.offset] & report.mask) != 0;
}

u32 dma_ring_owned(const struct dma_ring *ring)
{
    return ring->count ? distance(ring, ring->next, ring->posted) : 0;
}

static void own_buffer(struct dma_device *device, const struct dma_ring *ring, u32 index,
                       bool owned)
{
    const struct dma_ring_profile *profile = ring->profile;
    u32 length = ring->buffer_size;

    /* A driver that expects no longer frames has smaller buffers than the device knows sizes. */
    if (profile->long_frames.mask != 0 && !ring->has_long_frames &&
        length > profile->short_frame_max) {
        length = profile->short_frame_max;
    }
    if (profile->direction == DMA_RX) {
        dma_own(device, DMA_STREAM_PAYLOAD(ring->index, 0), ring->guest_buffers[index], length,
                owned);
    }
}

void dma_ring_pause(struct dma_device *device, const struct dma_ring *ring)
{
    for (u32 left = dma_ring_owned(ring), i = ring->next; left > 0; left--) {
        own_buffer(device, ring, i, false);
        i = wrap(ring, i + 1);
    }
}

void dma_ring_give_up(struct dma_device *device, struct dma_ring *ring)
{
    dma_ring_pause(device, ring);
    ring->posted = ring->next;
    ring->in_frame = false;
    ring->frame_kept = 0;
}

static void point_to_shadow_buffer(struct dma_device *device, struct dma_ring *ring, u32 index,
                                   u8 *descriptor, bool is_new)
{
    const struct dma_ring_profile *profile = ring->profile;
    u64 guest_buffer = dma_get_field(descriptor, profile->address);

    if (!is_new) {
        own_buffer(device, ring, index, false);
    }
    ring->guest_buffers[index] = guest_buffer;
    own_buffer(device, ring, index, true);
    if (guest_buffer != 0 || !profile->null_address_is_skipped) {
        dma_put_field(descriptor, profile->address,
                      ring->buffers_phys + (u64)index * ring->buffer_size);
    }
}

/* The device reads a transmit buffer where it is, so it must be guest RAM: the monitor's memory is
 * not to be sent. Both ends are enough, the monitor being larger than any one buffer. Of others
 * the device sends nothing: their length becomes 0. */
static void check_transmit_buffer(struct dma_device *device, struct dma_ring *ring, u8 *descriptor)
{
    const struct dma_ring_profile *profile = ring->profile;
    const struct dma_form *form = dma_form_of(profile, descriptor);
    const struct dma_field word_field = {(u8)profile->form_offset, 4};
    u32 word = (u32)dma_get_field(descriptor, word_field);
    u64 address = dma_get_field(descriptor, profile->address);
    u32 length = form != NULL ? word & form->length_mask : 0;
    u8 probe;

    if (length != 0 && (dma_read_guest(device, address, &probe, 1) < 0 ||
                        !dma_guest_range_is_sane(address, length) ||
                        dma_read_guest(device, address + length - 1, &probe, 1) < 0)) {
        dma_put_field(descriptor, word_field, word & ~form->length_mask);
    }
}

static void post_one(struct dma_device *device, struct dma_ring *ring, u32 index, u8 *descriptor,
                     bool is_new)
{
    const struct dma_ring_profile *profile = ring->profile;

    if (profile->direction == DMA_RX) {
        point_to_shadow_buffer(device, ring, index, descriptor, is_new);
    } else {
        check_transmit_buffer(device, ring, descriptor);
        if (is_new) {
            dma_ring_tell_sent(device, ring, descriptor);
        }
    }
    descriptor[profile->done.offset] &= (u8)~profile->done.mask;
    memcpy(shadow_descriptor(ring, index), descriptor, profile->descriptor_size);
}

/* Copies [from, to) of the guest's ring; what cannot be read is posted as zeros. The first `known`
 * of them were posted before. */
static void post_range(struct dma_device *device, struct dma_ring *ring, u32 from, u32 to,
                       u32 known)
{
    const u32 size = ring->profile->descriptor_size;
    u8 batch[BATCH_SIZE];

    while (from != to) {
        u32 n = (to > from ? to : ring->count) - from;

        if (n > BATCH_SIZE / size) {
            n = BATCH_SIZE / size;
        }
        if (dma_read_guest(device, ring->guest_base + (u64)from * size, batch, n * size) < 0) {
            memset(batch, 0, sizeof(batch));
        }
        for (u32 i = 0; i < n; i++) {
            post_one(device, ring, from + i, batch + i * size, i >= known);
        }
        from = wrap(ring, from + n);
        known = known > n ? known - n : 0;
    }
}

/* Retires descriptors that report nothing, as far as the device's head has passed them. */
static int follow_head(struct dma_device *device, struct dma_ring *ring)
{
    int retired = 0;
    u64 head;

    if (!ring->profile->head_tells_progress) {
        return 0;
    }
    head = device->env.device_read(device->env.ctx, ring->profile->head, 4);
    if (head >= ring->count || distance(ring, ring->next, (u32)head) > dma_ring_owned(ring)) {
        return 0;
    }
    while (ring->next != head && !reports(ring, ring->next)) {
        ring->next = wrap(ring, ring->next + 1);
        retired++;
    }
    return retired;
}

static bool has_room(const struct dma_ring *ring, u32 tail)
{
    return dma_ring_owned(ring) + distance(ring, ring->posted, tail) < ring->count;
}

static bool buffers_fit(const struct dma_ring *ring)
{
    return ring->profile->direction == DMA_TX ||
           (u64)ring->count * ring->buffer_size <= ring->buffers_size;
}

int dma_ring_post(struct dma_device *device, struct dma_ring *ring, u32 tail)
{
    if (tail >= ring->count) {
        return ERR_INVALID;
    }
    if (!buffers_fit(ring)) {
        return ERR_NO_SPACE;
    }
    if (!has_room(ring, tail)) {
        dma_ring_harvest(device, ring);
    }
    if (!has_room(ring, tail)) {
        follow_head(device, ring);
    }
    if (!has_room(ring, tail)) {
        /* The tail moved back over descriptors that the device may be using. Were this forwarded,
         * a device already past the new tail would own the whole ring. */
        return ERR_INVALID;
    }
    post_range(device, ring, ring->posted, tail, 0);
    ring->posted = tail;
    return 0;
}

int dma_ring_restart(struct dma_device *device, struct dma_ring *ring)
{
    if (ring->next >= ring->count || ring->tail >= ring->count) {
        return ERR_INVALID;
    }
    if (!buffers_fit(ring)) {
        return ERR_NO_SPACE;
    }
    post_range(device, ring, ring->next, ring->tail, dma_ring_owned(ring));
    ring->posted = ring->tail;
    return 0;
}

static void deliver_payload(struct dma_device *device, struct dma_ring *ring, u32 index,
                            const u8 *descriptor)
{
    const struct dma_ring_profile *profile = ring->profile;
    u64 guest_buffer = ring->guest_buffers[index];
    u64 len = dma_get_field(descriptor, profile->payload_length);
    bool is_last = dma_is_last(profile, descriptor);
    u8 flags = (ring->in_frame ? DMA_PAYLOAD_CONTINUES : 0) | (ring->has_crc ? DMA_PAYLOAD_CRC : 0);

    if (guest_buffer == 0 && profile->null_address_is_skipped) {
        return;
    }
    if (len > ring->buffer_size) {
        device->stats.clamped_lengths++;
        len = ring->buffer_size;
    }
    if (len != 0 &&
        dma_write_guest(device, DMA_STREAM_PAYLOAD(ring->index, flags), guest_buffer,
                        ring->buffers + (u64)index * ring->buffer_size, (u32)len) == 0) {
        device->stats.rx_bytes += len;
    }
    ring->in_frame = !is_last;
    device->stats.rx_packets += is_last;
}

static void complete(struct dma_device *device, struct dma_ring *ring, u32 index)
{
    const struct dma_ring_profile *profile = ring->profile;
    u8 descriptor[DMA_MAX_DESCRIPTOR_SIZE];

    memcpy(descriptor, shadow_descriptor(ring, index), profile->descriptor_size);
    if (profile->direction == DMA_RX) {
        own_buffer(device, ring, index, false);
        deliver_payload(device, ring, index, descriptor);
    }
    dma_write_guest(device, DMA_STREAM_DESCRIPTORS(ring->index),
                    ring->guest_base + (u64)index * profile->descriptor_size +
                        profile->write_back.offset,
                    descriptor + profile->write_back.offset, profile->write_back.width);
}

int dma_ring_harvest(struct dma_device *device, struct dma_ring *ring)
{
    int completed = 0;
    u32 scan = ring->next;

    /* Completion is in order: one that is done means that all before it are, too. */
    while (scan != ring->posted) {
        u32 after = wrap(ring, scan + 1);

        if (is_done(ring, scan)) {
            complete(device, ring, scan);
            completed += (int)distance(ring, ring->next, after);
            ring->next = after;
        } else if (reports(ring, scan)) {
            break;
        }
        scan = after;
    }
    if (scan == ring->posted && ring->next != ring->posted) {
        completed += follow_head(device, ring);
    }
    device->stats.completed += (u64)completed;
    return completed;
}
