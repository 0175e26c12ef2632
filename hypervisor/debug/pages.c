#include "debug/pages.h"
#include "core/early_reads.h"
#include "core/guest_memory.h"
#include "debug/patches.h"
#include "debug/watches.h"
#include "lib/string.h"
#include "vmx/ept.h"

/* More than an instruction accesses, its page walks included. Of one that gathers from more pages
 * the oldest are closed again: it goes on where it was. */
#define NEEDED_MAX 64

static struct needed {
    u64 gpa;
    bool access;
} needed[NEEDED_MAX];
static u8 before[NEEDED_MAX][PAGE_SIZE];
static unsigned int needed_count, needed_next;

bool pages_ours(u64 gpa)
{
    return patches_on(gpa) || watches_on(gpa) || early_reads_on(gpa);
}

static unsigned int permissions(u64 gpa)
{
    return watches_permissions(gpa) & early_reads_permissions(gpa);
}

/* Without the flush that must follow. */
static int show(u64 gpa)
{
    const u8 *copy = patches_copy(gpa);

    return copy != NULL ? ept_map(gpa & ~PAGE_MASK, (u64)copy, PAGE_SIZE, EPT_EXECUTE)
                        : guest_memory_show(gpa, permissions(gpa));
}

int pages_update(u64 gpa)
{
    return ept_room(gpa) ? show(gpa) : ERR_NO_SPACE;
}

static int find(u64 gpa)
{
    for (unsigned int i = 0; i < needed_count; i++)
        if (needed[i].gpa == (gpa & ~PAGE_MASK))
            return (int)i;
    return -1;
}

bool pages_need(u64 gpa, bool access)
{
    int i = find(gpa);

    if (i >= 0 && (needed[i].access || !access))
        return false;
    if (i < 0) {
        i = (int)needed_next;
        if (needed_count < NEEDED_MAX)
            needed_count++;
        needed_next = (needed_next + 1) % NEEDED_MAX;
    }
    needed[i] = (struct needed){gpa & ~PAGE_MASK, access};
    if (access)
        guest_memory_read(needed[i].gpa, before[i], PAGE_SIZE);
    return true;
}

const u8 *pages_before(u64 gpa)
{
    int i = find(gpa);

    return i >= 0 && needed[i].access ? before[i] : NULL;
}

void pages_memory_written(u64 gpa, const u8 *data, u64 size)
{
    for (unsigned int i = 0; i < needed_count; i++) {
        u64 page = needed[i].gpa, start = gpa > page ? gpa : page;
        u64 end = gpa + size < page + PAGE_SIZE ? gpa + size : page + PAGE_SIZE;

        if (start < end)
            memcpy(before[i] + (start - page), data + (start - gpa), end - start);
    }
}

void pages_forget(void)
{
    needed_count = needed_next = 0;
}

void pages_open(void)
{
    for (unsigned int i = 0; i < needed_count; i++)
        guest_memory_show(needed[i].gpa, needed[i].access ? EPT_ALL : permissions(needed[i].gpa));
    hv_flush_guest_tlb();
}

void pages_close(void)
{
    for (unsigned int i = 0; i < needed_count; i++)
        show(needed[i].gpa);
    hv_flush_guest_tlb();
}
