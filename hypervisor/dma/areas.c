#include "dma/areas.h"
#include "dma/buffers.h"
#include "dma/guest.h"
#include "lib/string.h"

#define WORD       8 /* bytes that are compared at once */
#define PASSES_MAX 8 /* of one harvest, with a device that never stops writing */

/* Of each page of shadow memory: which area it belongs to, that area, a place in the list of those
 * that are shared; the page, and what is known of it. */
#define BYTES_OF_TABLES (2 * sizeof(u32) + sizeof(struct dma_area))
#define BYTES_PER_PAGE  (BYTES_OF_TABLES + 2 * PAGE_SIZE)

u64 dma_areas_minimum(void)
{
    return 2 * PAGE_SIZE + ALIGN_UP(BYTES_PER_PAGE, PAGE_SIZE); /* so that there is a page */
}

void dma_areas_init(struct dma_areas *areas, u8 *memory, u64 phys, u64 size)
{
    u64 tables;

    memset(areas, 0, sizeof(*areas));
    areas->page_count = (u32)((size - PAGE_SIZE) / BYTES_PER_PAGE);
    tables = ALIGN_UP(areas->page_count * BYTES_OF_TABLES, PAGE_SIZE);
    areas->list = (struct dma_area *)memory;
    areas->first_page = (u32 *)(areas->list + areas->page_count);
    areas->shared = areas->first_page + areas->page_count;
    areas->image = memory + tables;
    areas->image_phys = phys + tables;
    areas->before = areas->image + areas->page_count * PAGE_SIZE;
}

static u32 pages_of(const struct dma_area *area)
{
    return (u32)(((area->gpa & PAGE_MASK) + area->length + PAGE_MASK) / PAGE_SIZE);
}

/* Where the area is in the image, and in what is known of it. */
static u64 offset_of(const struct dma_area *area)
{
    return area->page * PAGE_SIZE + (area->gpa & PAGE_MASK);
}

/* Free pages in a row, where the last ones were found or behind them, or before. */
static bool find_pages(struct dma_areas *areas, u32 count, u32 *first)
{
    for (u32 looked = 0, run = 0; looked < areas->page_count + count; looked++) {
        u32 page = (areas->next_page + looked) % areas->page_count;

        if (page == 0)
            run = 0;
        run = areas->first_page[page] == 0 ? run + 1 : 0;
        if (run == count) {
            *first = page + 1 - count;
            return true;
        }
    }
    return false;
}

static void set_owner(struct dma_areas *areas, const struct dma_area *area, u32 value)
{
    for (u32 i = 0; i < pages_of(area); i++)
        areas->first_page[area->page + i] = value;
}

int dma_area_map(struct dma_device *device, const struct dma_area *wanted, u64 *address)
{
    struct dma_areas *areas = &device->areas;
    struct dma_area area = *wanted;
    u8 *image;

    if (area.length == 0)
        return ERR_INVALID;
    if (area.length > areas->page_count * PAGE_SIZE ||
        !find_pages(areas, pages_of(&area), &area.page))
        return ERR_NO_SPACE;
    image = areas->image + offset_of(&area);
    if (dma_read_guest(device, area.gpa, image, (u32)area.length) < 0)
        return ERR_FAULT;
    memcpy(areas->before + offset_of(&area), image, area.length);
    set_owner(areas, &area, area.page + 1);
    areas->next_page = (area.page + pages_of(&area)) % areas->page_count;
    areas->list[area.page] = area;
    if (area.kind == DMA_AREA_SHARED)
        areas->shared[areas->shared_count++] = area.page;
    *address = areas->image_phys + offset_of(&area);
    device->stats.doorbells++;
    return 0;
}

/* The area of `owner` that has all of the range, which begins at *at in it; NULL: there is none. */
static const struct dma_area *find(const struct dma_areas *areas, u32 owner, u64 address,
                                   u64 length, u64 *at)
{
    u64 page = (address - areas->image_phys) / PAGE_SIZE;
    const struct dma_area *area;

    if (address < areas->image_phys || page >= areas->page_count || areas->first_page[page] == 0)
        return NULL;
    area = &areas->list[areas->first_page[page] - 1];
    *at = address - areas->image_phys - offset_of(area);
    return area->owner == owner && *at < area->length && length <= area->length - *at ? area : NULL;
}

/* What the device wrote there becomes the guest's. */
static u64 take(struct dma_device *device, const struct dma_area *area, u64 at, u64 length)
{
    u64 offset = offset_of(area) + at;

    return dma_harvest_changes(device, area->stream, area->gpa + at, device->areas.image + offset,
                               device->areas.before + offset, (u32)length);
}

static bool is_same(const u8 *left, const u8 *right, u32 length)
{
    u64 words = length / WORD;
    bool same;

    /* Of each shared area all bytes are compared at each harvest: one instruction is fast enough,
     * in emulators as well. */
    __asm__ volatile("cmp %%eax, %%eax\n\trepe cmpsq"
                     : "+S"(left), "+D"(right), "+c"(words), "=@ccz"(same)
                     :
                     : "memory");
    return same && memcmp(left, right, length % WORD) == 0;
}

/* What the guest changed becomes the device's, but for bytes that this has changed as well. */
static void give_part(const u8 *guest, u8 *image, u8 *before, u32 length)
{
    for (u32 i = 0; i < length; i++)
        if (guest[i] != before[i] && image[i] == before[i]) {
            image[i] = guest[i];
            before[i] = guest[i];
        }
}

static u64 agree(struct dma_device *device, const struct dma_area *area)
{
    struct dma_areas *areas = &device->areas;
    u64 taken = 0, at = 0, length = area->length;

    for (u32 part; length != 0; at += part, length -= part) {
        u64 offset = offset_of(area) + at, gpa = area->gpa + at;
        u8 *image = areas->image + offset, *before = areas->before + offset;
        const u8 *guest = device->env.guest_page(device->env.ctx, gpa & ~PAGE_MASK);

        part = dma_page_part(gpa, length < PAGE_SIZE ? (u32)length : PAGE_SIZE);
        if (guest == NULL)
            continue;
        guest += gpa & PAGE_MASK;
        if (is_same(guest, before, part) && is_same(image, before, part))
            continue;
        give_part(guest, image, before, part);
        taken += take(device, area, at, part);
    }
    return taken;
}

/* The device may write meanwhile: what it wrote first, say into a buffer, may be passed already
 * where what it wrote last, a status, is found. So all is looked at again, while the guest waits,
 * until nothing was found: then there was a moment at which the device's memory was this. */
u64 dma_areas_harvest(struct dma_device *device)
{
    struct dma_areas *areas = &device->areas;
    u64 total = 0, taken = 1;

    for (u32 pass = 0; pass < PASSES_MAX && taken != 0; pass++) {
        taken = 0;
        for (u32 i = 0; i < areas->shared_count; i++)
            taken += agree(device, &areas->list[areas->shared[i]]);
        total += taken;
    }
    device->stats.rx_bytes += total;
    return total;
}

static void hand_to_cpu(struct dma_device *device, const struct dma_area *area, u64 at, u64 length)
{
    if (area->kind == DMA_AREA_SHARED)
        dma_areas_harvest(device);
    else if (area->kind != DMA_AREA_TO_DEVICE)
        device->stats.rx_bytes += take(device, area, at, length);
}

int dma_area_sync_for_cpu(struct dma_device *device, u32 owner, u64 address, u64 length)
{
    u64 at;
    const struct dma_area *area = find(&device->areas, owner, address, length, &at);

    if (area == NULL)
        return ERR_INVALID;
    hand_to_cpu(device, area, at, length);
    return 0;
}

int dma_area_sync_for_device(struct dma_device *device, u32 owner, u64 address, u64 length)
{
    u64 at, offset;
    const struct dma_area *area = find(&device->areas, owner, address, length, &at);

    if (area == NULL)
        return ERR_INVALID;
    if (area->kind == DMA_AREA_SHARED) {
        dma_areas_harvest(device);
        return 0;
    }
    offset = offset_of(area) + at;
    if (length != 0 &&
        dma_read_guest(device, area->gpa + at, device->areas.image + offset, (u32)length) < 0)
        return ERR_FAULT;
    memcpy(device->areas.before + offset, device->areas.image + offset, length);
    device->stats.doorbells++;
    return 0;
}

static void forget(struct dma_areas *areas, const struct dma_area *area)
{
    for (u32 i = 0; area->kind == DMA_AREA_SHARED && i < areas->shared_count; i++)
        if (areas->shared[i] == area->page)
            areas->shared[i] = areas->shared[--areas->shared_count];
    set_owner(areas, area, 0);
}

int dma_area_unmap(struct dma_device *device, u32 owner, u64 address)
{
    u64 at;
    const struct dma_area *area = find(&device->areas, owner, address, 1, &at);

    if (area == NULL || at != 0)
        return ERR_INVALID;
    hand_to_cpu(device, area, 0, area->length);
    device->stats.completed++;
    forget(&device->areas, area);
    return 0;
}

void dma_areas_release(struct dma_device *device, u32 owner)
{
    struct dma_areas *areas = &device->areas;

    for (u32 page = 0; page < areas->page_count; page++)
        if (areas->first_page[page] == page + 1 && areas->list[page].owner == owner)
            forget(areas, &areas->list[page]);
}
