/* What the device is given to send, for people who look at it. The device reads it by itself. */
#include "dma/guest.h"
#include "dma/ring.h"

const struct dma_form *dma_form_of(const struct dma_ring_profile *profile, const u8 *descriptor)
{
    const struct dma_field word_field = {(u8)profile->form_offset, 4};
    u32 word = (u32)dma_get_field(descriptor, word_field);

    for (u32 i = 0; i < profile->form_count; i++) {
        if ((word & profile->forms[i].mask) == profile->forms[i].value) {
            return &profile->forms[i];
        }
    }
    return NULL;
}

/* One descriptor's part of a frame. */
struct part {
    u64 address;
    u32 length;
    u8 flags; /* LAST: of its last piece */
};

/* Reads what is to be kept of the part's beginning; 0 when it is not RAM. */
static u32 read_piece(struct dma_device *device, const struct dma_ring *ring,
                      const struct part *part)
{
    const struct dma_env *env = &device->env;
    u32 room = env->sent_max - ring->frame_kept;
    u32 n = part->length < DMA_SENT_PART ? part->length : DMA_SENT_PART;

    if (n > room) {
        n = room;
    }
    if (n == 0 || part->address + n - 1 < part->address ||
        env->guest_read(env->ctx, part->address, device->piece, n) < 0) {
        return 0;
    }
    return n;
}

/* Tells the next piece of a part; negative: the environment wants no more. */
static int tell_piece(struct dma_device *device, struct dma_ring *ring, struct part *part)
{
    u32 kept = read_piece(device, ring, part);
    u32 length = part->length;
    u8 flags = part->flags;
    int error;

    ring->frame_kept += kept;
    if (kept < length && kept == DMA_SENT_PART && ring->frame_kept < device->env.sent_max) {
        length = kept;
        flags &= (u8)~DMA_SENT_LAST;
    } else if (kept < length) {
        ring->frame_kept = device->env.sent_max; /* no data after a hole */
    }
    error = device->env.sent(device->env.ctx, DMA_STREAM_PAYLOAD(ring->index, 0),
                             flags | (ring->in_frame ? 0 : DMA_SENT_FIRST), length, device->piece,
                             kept);
    ring->in_frame = true;
    part->address += length;
    part->length -= length;
    return error;
}

void dma_ring_tell_sent(struct dma_device *device, struct dma_ring *ring, const u8 *descriptor)
{
    const struct dma_ring_profile *profile = ring->profile;
    const struct dma_form *form = dma_form_of(profile, descriptor);
    const struct dma_field word_field = {(u8)profile->form_offset, 4};
    u32 word = (u32)dma_get_field(descriptor, word_field);
    bool is_last = dma_is_last(profile, descriptor);
    struct part part;

    if (device->env.sent_max == 0 || form == NULL || form->length_mask == 0) {
        return;
    }
    part.address = dma_get_field(descriptor, profile->address);
    part.length = word & form->length_mask;
    part.flags =
        (word & form->segment_mask ? DMA_SENT_SEGMENTED : 0) | (is_last ? DMA_SENT_LAST : 0);
    do {
        if (tell_piece(device, ring, &part) < 0) {
            break;
        }
    } while (part.length != 0);
    if (is_last) {
        ring->in_frame = false;
        ring->frame_kept = 0;
    }
}
