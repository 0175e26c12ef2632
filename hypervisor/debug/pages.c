#include "debug/pages.h"
#include "core/guest_memory.h"
#include "debug/patches.h"
#include "debug/watches.h"
#include "vmx/ept.h"

static struct {
    unsigned int uses;
    u64 gpa;
} pages[DEBUG_PAGES_MAX];

int pages_find(u64 gpa)
{
    for (int i = 0; i < DEBUG_PAGES_MAX; i++)
        if (pages[i].uses != 0 && pages[i].gpa == (gpa & ~PAGE_MASK))
            return i;
    return -1;
}

int pages_use(u64 gpa)
{
    int page = pages_find(gpa);

    for (int i = 0; page < 0 && i < DEBUG_PAGES_MAX; i++)
        if (pages[i].uses == 0)
            page = i;
    if (page < 0)
        return ERR_NO_SPACE;
    pages[page].gpa = gpa & ~PAGE_MASK;
    pages[page].uses++;
    return page;
}

void pages_release(u64 gpa)
{
    int page = pages_find(gpa);

    pages[page].uses--;
    pages_update(page);
}

/* Without the flush that must follow. */
static int show(int page)
{
    u64 gpa = pages[page].gpa;
    const u8 *copy = patches_copy(page, gpa);

    return copy != NULL ? ept_map(gpa, (u64)copy, PAGE_SIZE, EPT_EXECUTE)
                        : guest_memory_show(gpa, watches_permissions(gpa));
}

int pages_update(int page)
{
    int error = show(page);

    hv_flush_guest_tlb();
    return error;
}

void pages_open(void)
{
    for (int i = 0; i < DEBUG_PAGES_MAX; i++)
        if (pages[i].uses != 0)
            guest_memory_show(pages[i].gpa, EPT_ALL);
    hv_flush_guest_tlb();
}

void pages_close(void)
{
    for (int i = 0; i < DEBUG_PAGES_MAX; i++)
        if (pages[i].uses != 0)
            show(i);
    hv_flush_guest_tlb();
}
