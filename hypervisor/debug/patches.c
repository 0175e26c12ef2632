#include "debug/patches.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"
#include "debug/memory.h"
#include "lib/string.h"
#include "vmx/ept.h"

#define PATCHES_MAX 64
#define PAGES_MAX   16
#define INT3        0xcc

static struct {
    bool used;
    u64 linear, gpa;
} patches[PATCHES_MAX];

static struct {
    unsigned int count; /* patches in it; 0: not used */
    u64 gpa;
} pages[PAGES_MAX];

static u8 copies[PAGES_MAX][PAGE_SIZE] __attribute__((aligned(4096)));
static bool open;

static int find_page(u64 gpa)
{
    for (int i = 0; i < PAGES_MAX; i++)
        if (pages[i].count != 0 && pages[i].gpa == (gpa & ~PAGE_MASK))
            return i;
    return -1;
}

/* The copy as the page is now, with its patches. */
static void refresh(int page)
{
    guest_memory_read(pages[page].gpa, copies[page], PAGE_SIZE);
    for (unsigned int i = 0; i < PATCHES_MAX; i++)
        if (patches[i].used && (patches[i].gpa & ~PAGE_MASK) == pages[page].gpa)
            copies[page][patches[i].gpa & PAGE_MASK] = INT3;
}

static int show_copy(int page)
{
    refresh(page);
    return ept_map(pages[page].gpa, (u64)copies[page], PAGE_SIZE, EPT_EXECUTE);
}

static int take_page(u64 gpa)
{
    int page = find_page(gpa);

    for (int i = 0; page < 0 && i < PAGES_MAX; i++)
        if (pages[i].count == 0)
            page = i;
    if (page >= 0)
        pages[page].gpa = gpa & ~PAGE_MASK;
    return page;
}

int patch_set(const struct vcpu *vcpu, u64 linear)
{
    u64 gpa;
    int page, error;

    if (!ept_execute_only())
        return ERR_UNSUPPORTED;
    if (debug_translate(vcpu, linear, &gpa) < 0 || !guest_memory_backed(gpa))
        return ERR_FAULT;
    page = take_page(gpa);
    for (unsigned int i = 0; page >= 0 && i < PATCHES_MAX; i++) {
        if (patches[i].used)
            continue;
        patches[i].used = true;
        patches[i].linear = linear;
        patches[i].gpa = gpa;
        pages[page].count++;
        error = show_copy(page);
        if (error < 0)
            patch_clear(linear);
        hv_flush_guest_tlb();
        hv_intercept_breakpoints(true);
        return error;
    }
    return ERR_NO_SPACE;
}

void patch_clear(u64 linear)
{
    bool left = false;

    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        if (patches[i].used && patches[i].linear == linear) {
            int page = find_page(patches[i].gpa);

            patches[i].used = false;
            if (--pages[page].count == 0)
                guest_memory_show(patches[i].gpa & ~PAGE_MASK);
            else
                refresh(page);
        }
        left = left || patches[i].used;
    }
    hv_flush_guest_tlb();
    hv_intercept_breakpoints(left);
}

bool patch_at(const struct vcpu *vcpu, u64 linear)
{
    u64 gpa;

    for (unsigned int i = 0; i < PATCHES_MAX; i++)
        if (patches[i].used && patches[i].linear == linear)
            return debug_translate(vcpu, linear, &gpa) == 0 && gpa == patches[i].gpa;
    return false;
}

bool patch_page(u64 gpa)
{
    return find_page(gpa) >= 0;
}

void patches_open(void)
{
    open = true;
    for (int i = 0; i < PAGES_MAX; i++)
        if (pages[i].count != 0)
            guest_memory_show(pages[i].gpa);
    hv_flush_guest_tlb();
}

void patches_close(void)
{
    if (!open)
        return;
    open = false;
    for (int i = 0; i < PAGES_MAX; i++)
        if (pages[i].count != 0)
            show_copy(i);
    hv_flush_guest_tlb();
}

void patches_memory_written(u64 gpa, u64 size)
{
    for (int i = 0; i < PAGES_MAX; i++)
        if (pages[i].count != 0 && gpa < pages[i].gpa + PAGE_SIZE && gpa + size > pages[i].gpa)
            refresh(i);
}
