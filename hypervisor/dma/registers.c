/* The guest's accesses to the device's registers: to what they belong. */
#include "dma/channel.h"
#include "dma/guest.h"
#include "dma/queues.h"
#include "dma/ring.h"
#include "dma/schedule.h"
#include "dma/slots.h"

static u32 canonical(const struct dma_profile *profile, u32 reg)
{
    for (u32 i = 0; i < profile->alias_count; i++) {
        u32 offset = reg - profile->aliases[i].alias;

        if (offset < profile->aliases[i].size) {
            return profile->aliases[i].reg + offset;
        }
    }
    return reg;
}

static bool is_among(const struct dma_range *ranges, u32 count, u32 reg)
{
    for (u32 i = 0; i < count; i++) {
        if (reg - ranges[i].first < ranges[i].size) {
            return true;
        }
    }
    return false;
}

static bool is_hidden(const struct dma_profile *profile, u32 reg)
{
    return is_among(profile->hidden, profile->hidden_count, reg);
}

static u64 write_dword(struct dma_device *device, u32 reg, u64 value, bool *forward)
{
    const struct dma_profile *profile = device->profile;

    reg = canonical(profile, reg);
    if (is_hidden(profile, reg)) {
        dma_refuse(device, forward);
        return value;
    }
    if (reg == profile->reset.reg && (value & profile->reset.mask) != 0) {
        dma_harvest(device);
        for (u32 i = 0; i < profile->slots_count; i++) {
            dma_slots_stop(device, &device->slots[i]);
        }
        dma_reset(device);
        return value;
    }
    for (u32 i = 0; i < profile->ring_count; i++) {
        value = dma_ring_write(device, &device->rings[i], reg, value, forward);
    }
    for (u32 i = 0; i < profile->slots_count; i++) {
        value = dma_slots_write(device, &device->slots[i], reg, (u32)value, forward);
    }
    dma_queues_write(device, reg, (u32)value, forward);
    return value;
}

static u64 write_qword(struct dma_device *device, u32 reg, u64 value, bool *forward)
{
    bool forward_low = true, forward_high = true;
    u64 low = write_dword(device, reg, value & 0xffffffff, &forward_low);
    u64 high = write_dword(device, reg + 4, value >> 32, &forward_high);

    *forward = forward_low && forward_high;
    if (forward_low && !forward_high) {
        dma_write_register(device, reg, 4, low);
    } else if (forward_high && !forward_low) {
        dma_write_register(device, reg + 4, 4, high);
    }
    return high << 32 | low;
}

static bool is_known_register(const struct dma_device *device, u32 reg)
{
    const struct dma_profile *profile = device->profile;

    reg = canonical(profile, reg);
    if (profile->reset.mask != 0 && reg == profile->reset.reg) {
        return true;
    }
    for (u32 i = 0; i < profile->ring_count; i++) {
        if (dma_ring_has_register(&profile->rings[i], reg)) {
            return true;
        }
    }
    for (u32 i = 0; i < profile->slots_count; i++) {
        if (dma_slots_has_register(&profile->slots[i], reg)) {
            return true;
        }
    }
    return dma_queues_has_register(device, reg);
}

u64 dma_on_register_write(struct dma_device *device, u32 reg, u8 size, u64 value, bool *forward)
{
    *forward = true;
    if (is_among(device->profile->closed, device->profile->closed_count, reg)) {
        dma_note_error(device,
                       "the device has more ports or queues than its DMA profile describes");
        dma_refuse(device, forward);
        return value;
    }
    if (device->profile->channel_count != 0) {
        *forward = !dma_channels_write(device, reg, size, value);
        return value;
    }
    if (device->profile->schedule != NULL) {
        *forward = dma_schedule_write(device, reg, size, value);
        return value;
    }
    if (reg % 4 == 0 && size == 8) {
        return write_qword(device, reg, value, forward);
    }
    if (reg % 4 == 0 && size == 4) {
        return write_dword(device, reg, value & 0xffffffff, forward);
    }
    /* A part of a register, or parts of several. */
    for (u32 dword = reg & ~3U; dword < reg + size; dword += 4) {
        if (is_known_register(device, dword) || is_hidden(device->profile, dword)) {
            dma_refuse(device, forward);
            break;
        }
    }
    return value;
}

/* The 32-bit register as the guest sees it. */
static u32 guest_view(const struct dma_device *device, u32 reg, u32 value)
{
    reg = canonical(device->profile, reg);
    if (is_hidden(device->profile, reg)) {
        return 0;
    }
    for (u32 i = 0; i < device->profile->view_count; i++) {
        const struct dma_register_view *view = &device->profile->views[i];

        if (reg == view->reg) {
            value = (value & ~view->clear) | view->set;
        }
    }
    for (u32 i = 0; i < device->profile->ring_count; i++) {
        const struct dma_ring *ring = &device->rings[i];
        u32 align_bits = ring->profile->base_align - 1;

        if (reg == ring->profile->base_lo) {
            return (u32)ring->guest_base | (value & align_bits);
        }
        if (reg == ring->profile->base_hi) {
            return (u32)(ring->guest_base >> 32);
        }
    }
    for (u32 i = 0; i < device->profile->slots_count; i++) {
        value = dma_slots_view(&device->slots[i], reg, value);
    }
    return dma_queues_view(device, reg, value);
}

u64 dma_on_register_read(struct dma_device *device, u32 reg, u8 size, u64 value_from_device)
{
    u64 result = 0;

    if (device->profile->schedule != NULL)
        return dma_schedule_read(device, reg, size, value_from_device);
    dma_harvest(device);
    if (device->profile->channel_count != 0) {
        return dma_channels_view(device, reg, size, value_from_device);
    }
    /* Byte by byte: an access may be a part of a register, or parts of several. */
    for (u32 i = 0; i < size; i++) {
        u32 shift = 8 * ((reg + i) % 4);
        u32 byte = (u32)(value_from_device >> (8 * i)) & 0xff;
        u32 seen = guest_view(device, (reg + i) & ~3U, byte << shift);

        result |= (u64)(seen >> shift & 0xff) << (8 * i);
    }
    return result;
}

static u32 io_window_register(const struct dma_device *device)
{
    return device->io_register & (device->profile->register_size - 1);
}

u64 dma_on_port_write(struct dma_device *device, u16 port, u8 size, u64 value, bool *forward)
{
    const struct dma_profile *profile = device->profile;

    *forward = true;
    if (!profile->has_io_window) {
        return value;
    }
    if (port == profile->io_address && size == 4) {
        device->io_register = (u32)value;
        return io_window_register(device);
    }
    if (port == profile->io_data && size == 4) {
        return dma_on_register_write(device, io_window_register(device), size, value, forward);
    }
    /* Devices differ in what these reach. */
    dma_refuse(device, forward);
    return value;
}

u64 dma_on_port_read(struct dma_device *device, u16 port, u8 size, u64 value_from_device)
{
    const struct dma_profile *profile = device->profile;

    if (!profile->has_io_window || port != profile->io_data) {
        dma_harvest(device);
        return value_from_device;
    }
    return dma_on_register_read(device, io_window_register(device), size, value_from_device);
}
