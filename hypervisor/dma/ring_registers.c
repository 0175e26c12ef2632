/* The guest's writes to the registers of a ring. */
#include "dma/guest.h"
#include "dma/ring.h"

/* The device does not re-read what it has begun to work on, and its manual leaves a change of the
 * ring under its feet undefined. */
static bool is_busy(struct dma_device *device, struct dma_ring *ring)
{
    dma_ring_harvest(device, ring);
    return ring->enabled && dma_ring_owned(ring) != 0;
}

static void note_no_space(struct dma_device *device, int error)
{
    if (error == ERR_NO_SPACE) {
        dma_note_error(device,
                       "ring too large: its buffers do not fit the DMA shadow area; use fewer "
                       "descriptors or smaller buffers in the guest's driver, or a larger "
                       "memory.monitor_mib in the board's file");
    }
}

/* What a disabled ring had in flight is given up; it is posted anew when the ring is enabled. */
static void move_to(struct dma_device *device, struct dma_ring *ring, u32 head)
{
    dma_ring_give_up(device, ring);
    ring->next = head;
    ring->posted = head;
}

static u64 set_base(struct dma_device *device, struct dma_ring *ring, bool high, u64 value,
                    bool *forward)
{
    u64 align_bits = ring->profile->base_align - 1;

    if (is_busy(device, ring)) {
        dma_refuse(device, forward);
        return value;
    }
    move_to(device, ring, ring->next);
    if (high) {
        ring->guest_base = (ring->guest_base & 0xffffffff) | value << 32;
        return ring->descriptors_phys >> 32;
    }
    ring->guest_base = (ring->guest_base & ~0xffffffffULL) | (value & ~align_bits);
    return (ring->descriptors_phys & 0xffffffff) | (value & align_bits);
}

static u64 set_length(struct dma_device *device, struct dma_ring *ring, u64 value, bool *forward)
{
    u64 count = (value & ring->profile->length_mask) / ring->profile->descriptor_size;
    bool busy = is_busy(device, ring);

    if (count > ring->profile->max_count) {
        dma_note_error(device, "ring too large: more descriptors than the DMA profile's max_count");
        count = 0;
        value = 0;
    }
    if (busy || (ring->enabled && ring->next != 0 && ring->next >= count)) {
        dma_refuse(device, forward);
        return value;
    }
    move_to(device, ring, ring->next);
    ring->count = (u32)count;
    return value;
}

static u64 set_head(struct dma_device *device, struct dma_ring *ring, u64 value, bool *forward)
{
    int error = 0;
    u32 old;

    if (is_busy(device, ring)) {
        dma_refuse(device, forward);
        return value;
    }
    old = ring->next;
    move_to(device, ring, (u32)value);
    if (ring->enabled && ring->next != ring->tail) {
        error = dma_ring_restart(device, ring);
    }
    if (error < 0) {
        note_no_space(device, error);
        move_to(device, ring, old);
        dma_refuse(device, forward);
    }
    return value;
}

static u64 set_tail(struct dma_device *device, struct dma_ring *ring, u64 value, bool *forward)
{
    int error = 0;

    device->stats.doorbells++;
    if (ring->enabled && value != ring->posted) {
        error = dma_ring_post(device, ring, (u32)value);
    }
    if (error < 0) {
        note_no_space(device, error);
        dma_refuse(device, forward);
        return value;
    }
    ring->tail = (u32)value;
    /* A driver that polls its ring hands over buffers on the way: it finds there what came since.
     */
    dma_ring_harvest(device, ring);
    return value;
}

static u64 set_buffer_size(struct dma_device *device, struct dma_ring *ring, u64 value)
{
    u32 mask = ring->profile->buffer_size.mask;
    u32 bits = (u32)value & mask;

    if (bits == ring->buffer_size_bits) {
        return value;
    }
    if (is_busy(device, ring)) {
        device->stats.refused_writes++;
        return (value & ~(u64)mask) | ring->buffer_size_bits;
    }
    move_to(device, ring, ring->next);
    ring->buffer_size_bits = bits;
    ring->buffer_size = dma_buffer_size(ring->profile, bits);
    return value;
}

static bool device_has_shadow_base(struct dma_device *device, const struct dma_ring *ring)
{
    const struct dma_ring_profile *profile = ring->profile;
    u64 low = device->env.device_read(device->env.ctx, profile->base_lo, 4);
    u64 high = device->env.device_read(device->env.ctx, profile->base_hi, 4);

    return (low & ~(u64)(profile->base_align - 1)) == (ring->descriptors_phys & 0xffffffff) &&
           high == ring->descriptors_phys >> 32;
}

/* The device must not be left with registers that are not the engine's: a guest may enable a ring
 * that it never set up, and what it wrote during a reset is lost. */
static void program(struct dma_device *device, struct dma_ring *ring)
{
    const struct dma_ring_profile *profile = ring->profile;

    dma_write_register(device, profile->base_lo, 4, ring->descriptors_phys & 0xffffffff);
    dma_write_register(device, profile->base_hi, 4, ring->descriptors_phys >> 32);
    dma_write_register(device, profile->length, 4, (u64)ring->count * profile->descriptor_size);
    dma_write_register(device, profile->head, 4, ring->next);
    dma_write_register(device, profile->tail, 4, ring->tail);
    ring->programmed = true;
}

/* Whether the device works as the profile describes, with `value` in the register `reg`. */
static bool is_as_described(struct dma_device *device, const struct dma_ring *ring, u32 reg,
                            u64 value)
{
    for (u32 i = 0; i < ring->profile->requirement_count; i++) {
        const struct dma_requirement *r = &ring->profile->requirements[i];
        u64 now = r->reg == reg ? value : device->env.device_read(device->env.ctx, r->reg, 4);

        if ((now & r->mask) != r->value) {
            dma_note_error(device, "a ring is used in a way that the DMA profile does not "
                                   "describe: see its `requires`");
            return false;
        }
    }
    return true;
}

static void enable(struct dma_device *device, struct dma_ring *ring, u32 reg, u64 value)
{
    bool program_it = !ring->programmed;
    int error = is_as_described(device, ring, reg, value) ? 0 : ERR_UNSUPPORTED;

    if (!ring->enabled && error == 0) {
        dma_ring_harvest(device, ring);
        error = dma_ring_restart(device, ring);
    }
    if (error < 0) {
        /* Empty until the guest sets it up. */
        note_no_space(device, error);
        move_to(device, ring, 0);
        ring->tail = 0;
        program_it = true;
    }
    ring->enabled = true;
    if (program_it || !device_has_shadow_base(device, ring)) {
        program(device, ring);
    }
}

/* What was received before is of the other kind. */
static void set_crc(struct dma_device *device, struct dma_ring *ring, u64 value)
{
    bool has_crc = (value & ring->profile->strip_crc.mask) == 0;

    if (has_crc != ring->has_crc) {
        dma_ring_harvest(device, ring);
        ring->has_crc = has_crc;
    }
}

static u64 set_control(struct dma_device *device, struct dma_ring *ring, u32 reg, u64 value)
{
    const struct dma_ring_profile *profile = ring->profile;
    bool has_enable = reg == profile->enable.reg;

    if (profile->strip_crc.mask != 0 && reg == profile->strip_crc.reg) {
        set_crc(device, ring, value);
    }
    if (profile->long_frames.mask != 0 && reg == profile->long_frames.reg) {
        ring->has_long_frames = (value & profile->long_frames.mask) != 0;
    }
    if (has_enable && (value & profile->enable.mask) == 0) {
        /* A new buffer size counts when the ring gets enabled again. */
        ring->enabled = false;
        dma_ring_pause(device, ring);
        return value;
    }
    if (profile->buffer_size.mask != 0 && reg == profile->buffer_size.reg) {
        value = set_buffer_size(device, ring, value);
    }
    if (has_enable) {
        enable(device, ring, reg, value);
    }
    return value;
}

static bool requires_register(const struct dma_ring_profile *profile, u32 reg)
{
    for (u32 i = 0; i < profile->requirement_count; i++) {
        if (profile->requirements[i].reg == reg) {
            return true;
        }
    }
    return false;
}

u64 dma_ring_write(struct dma_device *device, struct dma_ring *ring, u32 reg, u64 value,
                   bool *forward)
{
    const struct dma_ring_profile *profile = ring->profile;

    value = set_control(device, ring, reg, value);
    if (ring->enabled && reg != profile->enable.reg && requires_register(profile, reg)) {
        is_as_described(device, ring, reg, value);
    }
    if (reg == profile->base_lo || reg == profile->base_hi) {
        return set_base(device, ring, reg == profile->base_hi, value, forward);
    }
    if (reg == profile->length) {
        return set_length(device, ring, value, forward);
    }
    if (reg == profile->head) {
        return set_head(device, ring, value, forward);
    }
    if (reg == profile->tail) {
        return set_tail(device, ring, value, forward);
    }
    return value;
}

bool dma_ring_has_register(const struct dma_ring_profile *ring, u32 reg)
{
    return reg == ring->base_lo || reg == ring->base_hi || reg == ring->length ||
           reg == ring->head || reg == ring->tail || reg == ring->enable.reg ||
           (ring->buffer_size.mask != 0 && reg == ring->buffer_size.reg) ||
           requires_register(ring, reg);
}
