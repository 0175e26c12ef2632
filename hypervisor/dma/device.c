#include "dma/areas.h"
#include "dma/buffers.h"
#include "dma/channel.h"
#include "dma/guest.h"
#include "dma/queues.h"
#include "dma/ring.h"
#include "dma/schedule.h"
#include "dma/slots.h"
#include "lib/string.h"

static u64 descriptors_room(const struct dma_ring_profile *ring)
{
    return ALIGN_UP((u64)ring->max_count * ring->descriptor_size, PAGE_SIZE);
}

static u64 addresses_room(const struct dma_ring_profile *ring)
{
    return ring->direction == DMA_RX ? ALIGN_UP((u64)ring->max_count * sizeof(u64), PAGE_SIZE) : 0;
}

u64 dma_shadow_minimum(const struct dma_profile *profile)
{
    u64 size = 0;

    for (u32 i = 0; i < profile->ring_count; i++) {
        const struct dma_ring_profile *ring = &profile->rings[i];

        size += descriptors_room(ring) + addresses_room(ring);
        if (ring->direction == DMA_RX) {
            size += ALIGN_UP(ring->buffer_size_max, PAGE_SIZE);
        }
    }
    for (u32 i = 0; i < profile->channel_count; i++) {
        u64 room = dma_buffers_minimum(&profile->channels[i].entries);

        size += ALIGN_UP(room, PAGE_SIZE);
    }
    return size + dma_slots_minimum(profile) + dma_queues_minimum(profile) +
           dma_schedule_minimum(profile);
}

/* RX rings and channels share what is left. */
static u32 shares(const struct dma_profile *profile)
{
    u32 count = profile->channel_count;

    for (u32 i = 0; i < profile->ring_count; i++) {
        count += profile->rings[i].direction == DMA_RX;
    }
    return count;
}

static bool profile_is_sane(const struct dma_profile *profile)
{
    u32 count = profile->ring_count + profile->channel_count + profile->slots_count +
                (profile->queues != NULL ? DMA_MAX_QUEUES : 0) + 2 * (profile->schedule != NULL);

    if (count == 0 || count > DMA_MAX_RINGS) {
        return false;
    }
    for (u32 i = 0; i < profile->ring_count; i++) {
        if (profile->rings[i].descriptor_size == 0 ||
            profile->rings[i].descriptor_size > DMA_MAX_DESCRIPTOR_SIZE) {
            return false;
        }
    }
    return true;
}

/* Descriptors with 32-bit addresses reach the first 4 GiB only. */
static bool device_reaches(const struct dma_profile *profile, u64 address)
{
    for (u32 i = 0; i < profile->ring_count; i++) {
        if (profile->rings[i].address.width < 8 && address > 0xffffffff) {
            return false;
        }
    }
    /* The register with the list's address has 32 bits. */
    return (profile->channel_count == 0 && profile->schedule == NULL) || address <= 0xffffffff;
}

int dma_device_init(struct dma_device *device, const struct dma_profile *profile,
                    const struct dma_env *env, void *shadow_virt, u64 shadow_phys, u64 shadow_size)
{
    u64 offset = 0, buffers_size;

    if (!profile_is_sane(profile) || (shadow_phys & PAGE_MASK) != 0) {
        return ERR_INVALID;
    }
    if (shadow_size < dma_shadow_minimum(profile)) {
        return ERR_NO_SPACE;
    }
    if (!device_reaches(profile, shadow_phys + shadow_size - 1)) {
        return ERR_UNSUPPORTED;
    }
    memset(device, 0, sizeof(*device));
    memset(shadow_virt, 0, shadow_size);
    device->profile = profile;
    device->env = *env;
    for (u32 i = 0; i < profile->ring_count; i++) {
        struct dma_ring *ring = &device->rings[i];

        ring->profile = &profile->rings[i];
        ring->index = i;
        ring->descriptors = (u8 *)shadow_virt + offset;
        ring->descriptors_phys = shadow_phys + offset;
        offset += descriptors_room(ring->profile);
        ring->guest_buffers = (u64 *)((u8 *)shadow_virt + offset);
        offset += addresses_room(ring->profile);
    }
    buffers_size = (shadow_size - offset) / (shares(profile) ? shares(profile) : 1);
    buffers_size &= ~PAGE_MASK;
    for (u32 i = 0; i < profile->channel_count; i++) {
        dma_channel_init(device, i, (u8 *)shadow_virt + offset, shadow_phys + offset, buffers_size);
        offset += buffers_size;
    }
    dma_slots_init(device, (u8 *)shadow_virt + offset, shadow_phys + offset, shadow_size - offset);
    dma_queues_init(device, (u8 *)shadow_virt + offset, shadow_phys + offset, shadow_size - offset);
    dma_schedule_init(device, (u8 *)shadow_virt + offset, shadow_phys + offset,
                      shadow_size - offset);
    for (u32 i = 0; i < profile->ring_count; i++) {
        struct dma_ring *ring = &device->rings[i];

        if (ring->profile->direction == DMA_RX) {
            ring->buffers = (u8 *)shadow_virt + offset;
            ring->buffers_phys = shadow_phys + offset;
            ring->buffers_size = buffers_size;
            offset += buffers_size;
        }
    }
    dma_reset(device);
    return 0;
}

int dma_areas_device_init(struct dma_device *device, const struct dma_env *env, void *shadow_virt,
                          u64 shadow_phys, u64 shadow_size)
{
    static const struct dma_profile by_hints = {.name = "hints"};

    if (shadow_size < dma_areas_minimum()) {
        return ERR_NO_SPACE;
    }
    if (shadow_phys + shadow_size - 1 > 0xffffffff) {
        return ERR_UNSUPPORTED;
    }
    memset(device, 0, sizeof(*device));
    memset(shadow_virt, 0, shadow_size);
    device->profile = &by_hints;
    device->env = *env;
    dma_areas_init(&device->areas, shadow_virt, shadow_phys, shadow_size);
    return 0;
}

u32 dma_buffer_size(const struct dma_ring_profile *profile, u32 bits)
{
    u32 mask = profile->buffer_size.mask;

    if (profile->buffer_unit != 0 && bits != 0) {
        return bits / (mask & -mask) * profile->buffer_unit;
    }
    for (u32 i = 0; i < profile->buffer_size_count; i++) {
        if (profile->buffer_sizes[i].value == bits) {
            return profile->buffer_sizes[i].bytes;
        }
    }
    return profile->buffer_size_max;
}

int dma_harvest(struct dma_device *device)
{
    int completed = 0;

    for (u32 i = 0; i < device->profile->ring_count; i++) {
        completed += dma_ring_harvest(device, &device->rings[i]);
    }
    for (u32 i = 0; i < device->profile->channel_count; i++) {
        completed += dma_channel_harvest(device, &device->channels[i]);
    }
    for (u32 i = 0; i < device->profile->slots_count; i++) {
        completed += dma_slots_harvest(device, &device->slots[i]);
    }
    completed += dma_queues_harvest(device) + dma_schedule_harvest(device);
    dma_areas_harvest(device);
    return completed;
}

bool dma_outstanding(const struct dma_device *device)
{
    for (u32 i = 0; i < device->profile->ring_count; i++) {
        if (dma_ring_owned(&device->rings[i]) != 0) {
            return true;
        }
    }
    for (u32 i = 0; i < device->profile->channel_count; i++) {
        if (device->channels[i].running) {
            return true;
        }
    }
    return device->commands_used != 0 || dma_queues_busy(device) || device->schedule.active ||
           device->areas.shared_count != 0;
}

bool dma_finds_work(const struct dma_device *device)
{
    return device->schedule.active;
}

void dma_find_work(struct dma_device *device)
{
    dma_schedule_find_work(device);
}

void dma_reset(struct dma_device *device)
{
    for (u32 i = 0; i < device->profile->ring_count; i++) {
        struct dma_ring *ring = &device->rings[i];

        dma_ring_give_up(device, ring);
        ring->guest_base = 0;
        ring->count = 0;
        ring->next = 0;
        ring->posted = 0;
        ring->tail = 0;
        ring->enabled = false;
        ring->programmed = false;
        ring->has_long_frames = false;
        ring->buffer_size_bits = 0;
        ring->buffer_size = dma_buffer_size(ring->profile, 0);
    }
    for (u32 i = 0; i < device->profile->channel_count; i++) {
        dma_channel_reset(device, &device->channels[i]);
    }
    for (u32 i = 0; i < device->profile->slots_count; i++) {
        dma_slots_reset(device, &device->slots[i]);
    }
    dma_queues_stop(device);
    dma_schedule_reset(device);
}

void dma_note_error(struct dma_device *device, const char *text)
{
    if (device->error == NULL) {
        device->error = text;
    }
}

const char *dma_take_error(struct dma_device *device)
{
    const char *error = device->error;

    device->error = NULL;
    return error;
}
