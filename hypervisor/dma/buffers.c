#include "dma/buffers.h"
#include "dma/guest.h"
#include "lib/string.h"

#define WORD      8     /* bytes that are compared at once */
#define GAP_MAX   64    /* equal bytes between two changes that are logged as one */
#define ALIGNMENT 64    /* of buffers in the shadow area */
#define RUN_MAX   65536 /* bytes logged as one */

static u64 list_room(const struct dma_list_profile *profile)
{
    return ALIGN_UP(profile->prefix + (u64)profile->max_entries * profile->entry_size, PAGE_SIZE);
}

static u64 segments_room(const struct dma_list_profile *profile)
{
    return ALIGN_UP((u64)profile->max_entries * sizeof(struct dma_segment), PAGE_SIZE);
}

static u64 largest_stand_in(const struct dma_list_profile *profile)
{
    u64 length = profile->length_add != 0 ? profile->length_add : profile->length_of_zero;

    return ALIGN_UP(length, PAGE_SIZE);
}

u64 dma_buffers_minimum(const struct dma_list_profile *profile)
{
    return list_room(profile) + segments_room(profile) + 2 * (u64)profile->boundary +
           2 * (largest_stand_in(profile) + profile->boundary);
}

static bool crosses(const struct dma_list_profile *profile, u64 phys, u64 size)
{
    u64 boundary = profile->boundary;

    return boundary != 0 && phys / boundary != (phys + size - 1) / boundary;
}

/* Where `size` bytes may be, from phys on. */
static u64 place(const struct dma_list_profile *profile, u64 phys, u64 size)
{
    phys = ALIGN_UP(phys, ALIGNMENT);
    return crosses(profile, phys, size) ? ALIGN_UP(phys, profile->boundary) : phys;
}

void dma_buffers_init(struct dma_buffers *buffers, const struct dma_list_profile *profile,
                      u8 *memory, u64 phys, u64 size)
{
    u64 at = place(profile, phys, list_room(profile)) - phys;

    memset(buffers, 0, sizeof(*buffers));
    buffers->profile = profile;
    buffers->list = memory + at + profile->prefix;
    buffers->list_phys = phys + at + profile->prefix;
    at += list_room(profile);
    buffers->segments = (struct dma_segment *)(memory + at);
    at += segments_room(profile);
    buffers->size = ((size - at) / 2) & ~PAGE_MASK;
    buffers->image = memory + at;
    buffers->image_phys = phys + at;
    buffers->before = memory + at + buffers->size;
}

void dma_commands_init(struct dma_device *device, const struct dma_list_profile *profile,
                       u8 *memory, u64 phys, u64 size, u64 room)
{
    u64 at = 0;

    for (; device->command_count < DMA_MAX_COMMANDS && size - at >= room; at += room)
        dma_buffers_init(&device->commands[device->command_count++], profile, memory + at,
                         phys + at, room);
}

struct dma_buffers *dma_commands_take(struct dma_device *device)
{
    for (u32 i = 0; i < device->command_count; i++)
        if (!(device->commands_used >> i & 1)) {
            device->commands_used |= 1U << i;
            return &device->commands[i];
        }
    return NULL;
}

void dma_commands_give_back(struct dma_device *device, const struct dma_buffers *buffers)
{
    device->commands_used &= ~(1U << (buffers - device->commands));
}

static u32 entry_length(const struct dma_list_profile *profile, const u8 *entry)
{
    u32 length =
        ((u32)dma_get_field(entry, profile->length) & profile->length_mask) + profile->length_add;

    return length != 0 ? length : profile->length_of_zero;
}

static bool is_last(const struct dma_list_profile *profile, const u8 *entry)
{
    return (entry[profile->last.offset] & profile->last.mask) != 0;
}

static void set_address(const struct dma_list_profile *profile, u8 *entry, u64 address)
{
    u64 rest = dma_get_field(entry, profile->address) & (profile->address_align - 1);

    dma_put_field(entry, profile->address, address | rest);
}

/* The image begins as the guest's memory is, where that is RAM, else with zeros. */
static void fill(struct dma_device *device, struct dma_buffers *buffers,
                 const struct dma_segment *segment)
{
    u8 *image = buffers->image + segment->offset;

    if (dma_read_guest(device, segment->gpa, image, segment->length) < 0) {
        for (u32 done = 0, part; done < segment->length; done += part) {
            part = dma_page_part(segment->gpa + done, segment->length - done);
            if (dma_read_guest(device, segment->gpa + done, image + done, part) < 0)
                memset(image + done, 0, part);
        }
    }
    if (buffers->to_memory)
        memcpy(buffers->before + segment->offset, image, segment->length);
}

void dma_buffers_add(struct dma_device *device, struct dma_buffers *buffers, u64 gpa, u32 offset,
                     u32 length)
{
    struct dma_segment *segment = &buffers->segments[buffers->count++];

    *segment = (struct dma_segment){.gpa = gpa, .offset = offset, .length = length};
    fill(device, buffers, segment);
}

/* The device must find an end, and memory of its own, whatever the guest's list is. */
static void end_list(struct dma_buffers *buffers)
{
    const struct dma_list_profile *profile = buffers->profile;
    u32 last = buffers->count != 0 ? buffers->count - 1 : 0;
    u8 *entry = buffers->list + (u64)last * profile->entry_size;

    if (buffers->count == 0) {
        memset(entry, 0, profile->entry_size);
        set_address(profile, entry, place(profile, buffers->image_phys, largest_stand_in(profile)));
    }
    entry[profile->last.offset] |= profile->last.mask;
}

u64 dma_buffers_map(struct dma_device *device, struct dma_buffers *buffers, u64 guest_list,
                    u32 entries, bool to_memory)
{
    const struct dma_list_profile *profile = buffers->profile;
    u64 phys = buffers->image_phys, total = 0;

    buffers->count = 0;
    buffers->to_memory = to_memory;
    buffers->is_cut = false;
    for (bool last = false; !last && buffers->count < entries;) {
        u8 *entry = buffers->list + (u64)buffers->count * profile->entry_size;
        u32 length;
        u64 gpa;

        buffers->is_cut = buffers->count == profile->max_entries;
        if (buffers->is_cut ||
            dma_read_guest(device, guest_list + (u64)buffers->count * profile->entry_size, entry,
                           profile->entry_size) < 0)
            break;
        length = entry_length(profile, entry);
        phys = place(profile, phys, length);
        buffers->is_cut = phys + length > buffers->image_phys + buffers->size;
        if (buffers->is_cut)
            break;
        gpa = dma_get_field(entry, profile->address) & ~(u64)(profile->address_align - 1);
        set_address(profile, entry, phys);
        last = is_last(profile, entry);
        dma_buffers_add(device, buffers, gpa, (u32)(phys - buffers->image_phys), length);
        phys += length;
        total += length;
    }
    end_list(buffers);
    return total;
}

/* --- what the device wrote --- */

static u32 word_at(u32 at, u32 length)
{
    return length - at < WORD ? length - at : WORD;
}

static bool differs(const u8 *a, const u8 *b, u32 n)
{
    u64 left = 0, right = 0;

    if (n == WORD) {
        __builtin_memcpy(&left, a, WORD);
        __builtin_memcpy(&right, b, WORD);
        return left != right;
    }
    return memcmp(a, b, n) != 0;
}

/* The next run of changed bytes from *at on; its length, 0: there is none. */
static u32 next_run(const u8 *image, const u8 *before, u32 length, u32 *at)
{
    u32 first = *at, end;

    while (first < length && !differs(image + first, before + first, word_at(first, length)))
        first += word_at(first, length);
    end = first;
    for (u32 i = first; i < length && i - end < GAP_MAX && i - first < RUN_MAX;
         i += word_at(i, length))
        if (differs(image + i, before + i, word_at(i, length)))
            end = i + word_at(i, length);
    while (first < end && image[first] == before[first])
        first++;
    while (end > first && image[end - 1] == before[end - 1])
        end--;
    *at = first;
    return end - first;
}

static void deliver(struct dma_device *device, u8 stream, u64 gpa, const u8 *data, u32 length)
{
    if (dma_write_guest(device, stream, gpa, data, length) == 0)
        return;
    for (u32 done = 0, part; done < length; done += part) {
        part = dma_page_part(gpa + done, length - done);
        dma_write_guest(device, stream, gpa + done, data + done, part);
    }
}

u64 dma_harvest_changes(struct dma_device *device, u8 stream, u64 gpa, const u8 *image, u8 *before,
                        u32 length)
{
    u64 total = 0;
    u32 at = 0, n;

    while ((n = next_run(image, before, length, &at)) != 0) {
        /* The device may go on writing: what is logged is what was copied once. */
        memcpy(before + at, image + at, n);
        deliver(device, stream, gpa + at, before + at, n);
        at += n;
        total += n;
    }
    return total;
}

u64 dma_buffers_harvest(struct dma_device *device, struct dma_buffers *buffers, u8 stream)
{
    u64 total = 0;

    if (!buffers->to_memory)
        return 0;
    for (u32 i = 0; i < buffers->count; i++) {
        const struct dma_segment *segment = &buffers->segments[i];

        total += dma_harvest_changes(device, stream, segment->gpa, buffers->image + segment->offset,
                                     buffers->before + segment->offset, segment->length);
    }
    return total;
}

void dma_buffers_own(struct dma_device *device, const struct dma_buffers *buffers, u8 stream,
                     bool owned)
{
    for (u32 i = 0; buffers->to_memory && i < buffers->count; i++)
        dma_own(device, stream, buffers->segments[i].gpa, buffers->segments[i].length, owned);
}
