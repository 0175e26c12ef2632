#include "dma/slots.h"
#include "dma/buffers.h"
#include "dma/guest.h"
#include "lib/string.h"

static u32 read_register(struct dma_device *device, u32 reg)
{
    return (u32)device->env.device_read(device->env.ctx, reg, 4);
}

/* --- the shadow area: for each list its headers and messages, then buffers for commands --- */

static u64 headers_room(const struct dma_slots_profile *profile)
{
    return ALIGN_UP((u64)profile->slot_count * profile->header_size, PAGE_SIZE);
}

/* With the messages, and the messages as the guest's memory is. */
static u64 list_room(const struct dma_slots_profile *profile)
{
    return headers_room(profile) + 2 * PAGE_SIZE;
}

static u64 command_room(const struct dma_slots_profile *profile)
{
    return ALIGN_UP(dma_buffers_minimum(&profile->entries), PAGE_SIZE) +
           2 * ALIGN_UP(profile->max_transfer, PAGE_SIZE);
}

u64 dma_slots_minimum(const struct dma_profile *profile)
{
    u64 size = 0;

    for (u32 i = 0; i < profile->slots_count; i++)
        size += list_room(&profile->slots[i]);
    return profile->slots_count != 0 ? size + command_room(&profile->slots[0]) : 0;
}

void dma_slots_init(struct dma_device *device, u8 *memory, u64 phys, u64 size)
{
    const struct dma_profile *profile = device->profile;
    u64 at = 0;

    for (u32 i = 0; i < profile->slots_count; i++) {
        struct dma_slots *slots = &device->slots[i];

        slots->profile = &profile->slots[i];
        slots->index = profile->ring_count + profile->channel_count + i;
        slots->headers = memory + at;
        slots->headers_phys = phys + at;
        at += headers_room(slots->profile);
        slots->area = memory + at;
        slots->area_phys = phys + at;
        slots->area_before = slots->area + PAGE_SIZE;
        at += 2 * PAGE_SIZE;
    }
    if (profile->slots_count != 0)
        dma_commands_init(device, &profile->slots[0].entries, memory + at, phys + at, size - at,
                          command_room(&profile->slots[0]));
}

/* --- commands --- */

static void give_back(struct dma_device *device, struct dma_slots *slots, u32 slot)
{
    dma_buffers_own(device, slots->commands[slot], DMA_STREAM_PAYLOAD(slots->index, 0), false);
    dma_commands_give_back(device, slots->commands[slot]);
    slots->commands[slot] = NULL;
}

static u8 *shadow_header(const struct dma_slots *slots, u32 slot)
{
    return slots->headers + (u64)slot * slots->profile->header_size;
}

static u64 guest_header(const struct dma_slots *slots, u32 slot)
{
    return slots->guest_base + (u64)slot * slots->profile->header_size;
}

/* Makes the shadow of one command. What of it is not RAM is zeros. */
static void prepare(struct dma_device *device, struct dma_slots *slots, u32 slot)
{
    const struct dma_slots_profile *profile = slots->profile;
    struct dma_buffers *buffers = slots->commands[slot];
    u8 *header = shadow_header(slots, slot), *prefix = buffers->list - profile->entries.prefix;
    bool to_memory;
    u64 table, bytes;

    if (dma_read_guest(device, guest_header(slots, slot), header, profile->header_size) < 0)
        memset(header, 0, profile->header_size);
    table = dma_get_field(header, profile->table) & ~(u64)(profile->table_align - 1);
    if (dma_read_guest(device, table, prefix, profile->entries.prefix) < 0)
        memset(prefix, 0, profile->entries.prefix);
    to_memory = !(header[profile->from_memory.offset] & profile->from_memory.mask);
    bytes = dma_buffers_map(device, buffers, table + profile->entries.prefix,
                            (u32)dma_get_field(header, profile->entry_count), to_memory);
    dma_buffers_own(device, buffers, DMA_STREAM_PAYLOAD(slots->index, 0), true);
    device->stats.tx_bytes += to_memory ? 0 : bytes;
    dma_put_field(header, profile->entry_count, buffers->count);
    dma_put_field(header, profile->table, buffers->list_phys - profile->entries.prefix);
    if (buffers->is_cut)
        dma_note_error(device, "a command's buffers do not fit the DMA shadow area: let the "
                               "guest's driver transfer less at once, or give memory.monitor_mib "
                               "in the board's file more");
}

/* Gives the device what waits, as far as there are buffers; returns those slots. */
static u32 issue(struct dma_device *device, struct dma_slots *slots)
{
    u32 issued = 0;

    for (u32 slot = 0; slots->started && slot < slots->profile->slot_count; slot++) {
        if (!(slots->waiting >> slot & 1))
            continue;
        slots->commands[slot] = dma_commands_take(device);
        if (slots->commands[slot] == NULL)
            break;
        prepare(device, slots, slot);
        issued |= 1U << slot;
    }
    slots->waiting &= ~issued;
    return issued;
}

static void take_area(struct dma_device *device, struct dma_slots *slots)
{
    if (slots->guest_area != 0)
        dma_harvest_changes(device, DMA_STREAM_DESCRIPTORS(slots->index), slots->guest_area,
                            slots->area, slots->area_before, slots->profile->area_size);
}

static void complete(struct dma_device *device, struct dma_slots *slots, u32 slot)
{
    const struct dma_slots_profile *profile = slots->profile;

    device->stats.rx_bytes +=
        dma_buffers_harvest(device, slots->commands[slot], DMA_STREAM_PAYLOAD(slots->index, 0));
    dma_write_guest(device, DMA_STREAM_DESCRIPTORS(slots->index),
                    guest_header(slots, slot) + profile->write_back.offset,
                    shadow_header(slots, slot) + profile->write_back.offset,
                    profile->write_back.width);
    give_back(device, slots, slot);
    device->stats.completed++;
}

/* Completes the slots that the device has done with; returns how many. */
static int complete_all_but(struct dma_device *device, struct dma_slots *slots, u32 busy)
{
    int completed = 0;

    for (u32 slot = 0; slot < slots->profile->slot_count; slot++)
        if (slots->commands[slot] != NULL && !(busy >> slot & 1)) {
            complete(device, slots, slot);
            completed++;
        }
    return completed;
}

int dma_slots_harvest(struct dma_device *device, struct dma_slots *slots)
{
    const struct dma_slots_profile *profile = slots->profile;
    u32 busy = 0, issued;
    int completed = 0;

    if (device->commands_used != 0) {
        busy = read_register(device, profile->issue) | read_register(device, profile->busy);
        completed = complete_all_but(device, slots, busy);
    }
    take_area(device, slots);
    issued = issue(device, slots);
    if (issued != 0)
        dma_write_register(device, profile->issue, 4, issued);
    return completed;
}

void dma_slots_stop(struct dma_device *device, struct dma_slots *slots)
{
    complete_all_but(device, slots, 0);
    take_area(device, slots);
    slots->waiting = 0;
    slots->started = false;
}

void dma_slots_reset(struct dma_device *device, struct dma_slots *slots)
{
    for (u32 slot = 0; slot < slots->profile->slot_count; slot++)
        if (slots->commands[slot] != NULL)
            give_back(device, slots, slot);
    slots->guest_base = 0;
    slots->guest_area = 0;
    slots->waiting = 0;
    slots->started = false;
}

/* --- registers --- */

bool dma_slots_has_register(const struct dma_slots_profile *profile, u32 reg)
{
    return reg == profile->base_lo || reg == profile->base_hi || reg == profile->area_lo ||
           reg == profile->area_hi || reg == profile->start.reg || reg == profile->issue;
}

static u64 half(u64 address, bool high, u32 value)
{
    return high ? (address & 0xffffffff) | (u64)value << 32 : (address & ~0xffffffffULL) | value;
}

static u32 set_base(struct dma_device *device, struct dma_slots *slots, bool high, u32 value,
                    bool *forward)
{
    if (slots->started) {
        dma_refuse(device, forward);
        return value;
    }
    slots->guest_base = half(slots->guest_base, high, value);
    slots->guest_base &= ~(u64)(slots->profile->base_align - 1);
    return (u32)(slots->headers_phys >> (high ? 32 : 0));
}

/* The area begins as the guest's memory is. */
static u32 set_area(struct dma_device *device, struct dma_slots *slots, bool high, u32 value)
{
    const struct dma_slots_profile *profile = slots->profile;

    take_area(device, slots);
    slots->guest_area = half(slots->guest_area, high, value) & ~(u64)(profile->area_align - 1);
    if (slots->guest_area == 0 ||
        dma_read_guest(device, slots->guest_area, slots->area, profile->area_size) < 0)
        memset(slots->area, 0, profile->area_size);
    memcpy(slots->area_before, slots->area, profile->area_size);
    return (u32)(slots->area_phys >> (high ? 32 : 0));
}

/* The device must not begin with addresses that are not the engine's. */
static void program(struct dma_device *device, struct dma_slots *slots)
{
    const struct dma_slots_profile *profile = slots->profile;

    dma_write_register(device, profile->base_lo, 4, slots->headers_phys & 0xffffffff);
    dma_write_register(device, profile->base_hi, 4, slots->headers_phys >> 32);
    dma_write_register(device, profile->area_lo, 4, slots->area_phys & 0xffffffff);
    dma_write_register(device, profile->area_hi, 4, slots->area_phys >> 32);
}

u32 dma_slots_write(struct dma_device *device, struct dma_slots *slots, u32 reg, u32 value,
                    bool *forward)
{
    const struct dma_slots_profile *profile = slots->profile;

    if (reg == profile->base_lo || reg == profile->base_hi)
        return set_base(device, slots, reg == profile->base_hi, value, forward);
    if (reg == profile->area_lo || reg == profile->area_hi)
        return set_area(device, slots, reg == profile->area_hi, value);
    if (reg == profile->start.reg) {
        if (!slots->started)
            program(device, slots);
        if (slots->started && !(value & profile->start.mask)) {
            dma_write_register(device, reg, 4, value);
            dma_slots_stop(device, slots);
            *forward = false;
        }
        slots->started = (value & profile->start.mask) != 0;
        return value;
    }
    if (reg != profile->issue)
        return value;
    device->stats.doorbells++;
    for (u32 slot = 0; slot < profile->slot_count; slot++)
        if (slots->started && slots->commands[slot] == NULL)
            slots->waiting |= value & 1U << slot;
    value = issue(device, slots);
    *forward = *forward && value != 0;
    return value;
}

u32 dma_slots_view(const struct dma_slots *slots, u32 reg, u32 value)
{
    const struct dma_slots_profile *profile = slots->profile;

    if (reg == profile->base_lo || reg == profile->base_hi)
        return (u32)(slots->guest_base >> (reg == profile->base_hi ? 32 : 0));
    if (reg == profile->area_lo || reg == profile->area_hi)
        return (u32)(slots->guest_area >> (reg == profile->area_hi ? 32 : 0));
    return reg == profile->issue ? value | slots->waiting : value;
}
