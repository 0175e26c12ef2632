/* Lists of pages ("PRP lists", section 4.1.1): a command has the address of its first page, and
 * that of the second, or of a list of all the others. */
#include "dma/buffers.h"
#include "dma/guest.h"
#include "dma/queues.h"

#define ENTRY        ((struct dma_field){0, 8})
#define ENTRY_SIZE   8
#define NOT_MEMORY   (~0ULL & ~PAGE_MASK)
#define PAGE_ALIGNED (~(u64)PAGE_MASK)

static u64 read_entry(struct dma_device *device, u64 gpa)
{
    u8 entry[ENTRY_SIZE];

    return dma_read_guest(device, gpa, entry, sizeof(entry)) < 0 ? NOT_MEMORY
                                                                 : dma_get_field(entry, ENTRY);
}

/* The next entry of the guest's list. The last one of a page is the address of the list's next page
 * where the command has more pages than one. */
static u64 next_entry(struct dma_device *device, u64 *at, u32 left)
{
    u64 entry = read_entry(device, *at);

    if (left > PAGE_SIZE && (*at & PAGE_MASK) == PAGE_SIZE - ENTRY_SIZE) {
        *at = entry & ~(u64)(ENTRY_SIZE - 1);
        /* A page of the list that has its last entry only would never end. */
        entry = (*at & PAGE_MASK) == PAGE_SIZE - ENTRY_SIZE ? NOT_MEMORY : read_entry(device, *at);
    }
    *at += ENTRY_SIZE;
    return entry;
}

static void map_list(struct dma_device *device, struct dma_buffers *buffers, u64 list, u32 done,
                     u32 left)
{
    u64 at = list & ~(u64)(ENTRY_SIZE - 1);
    u8 *shadow = buffers->list;

    for (u32 part; left > 0; left -= part, done += part, shadow += ENTRY_SIZE) {
        u64 entry = next_entry(device, &at, left);

        part = left < PAGE_SIZE ? left : PAGE_SIZE;
        dma_buffers_add(device, buffers, entry & PAGE_ALIGNED, done, part);
        dma_put_field(shadow, ENTRY, (buffers->image_phys + done) | (entry & PAGE_MASK));
    }
}

void dma_pages_map(struct dma_device *device, struct dma_buffers *buffers, u8 *command, u32 length,
                   bool to_memory)
{
    u64 first = dma_get_field(command, QUEUE_COMMAND_PAGE1);
    u64 unaligned = first & 3; /* for the device to refuse, or to ignore */
    u64 second = dma_get_field(command, QUEUE_COMMAND_PAGE2);
    u32 part, done;

    first -= unaligned;
    part = dma_page_part(first, length);
    done = (u32)(first & PAGE_MASK);
    buffers->count = 0;
    buffers->to_memory = to_memory;
    buffers->is_cut = false;
    /* In the shadow pages follow one another, so that data begins as far into its first page. */
    dma_buffers_add(device, buffers, first, done, part);
    dma_put_field(command, QUEUE_COMMAND_PAGE1, buffers->image_phys + done + unaligned);
    done += part;
    length -= part;
    if (length > PAGE_SIZE) {
        map_list(device, buffers, second, done, length);
        dma_put_field(command, QUEUE_COMMAND_PAGE2,
                      buffers->list_phys | (second & (ENTRY_SIZE - 1)));
        return;
    }
    if (length != 0)
        dma_buffers_add(device, buffers, second & PAGE_ALIGNED, done, length);
    dma_put_field(command, QUEUE_COMMAND_PAGE2,
                  (buffers->image_phys + PAGE_SIZE) | (second & PAGE_MASK));
}
