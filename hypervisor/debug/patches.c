#include "debug/patches.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "debug/pages.h"
#include "vmx/ept.h"

#define PATCHES_MAX 64
#define INT3        0xcc

static struct {
    bool used;
    u64 linear, gpa;
} patches[PATCHES_MAX];

static u8 copies[DEBUG_PAGES_MAX][PAGE_SIZE] __attribute__((aligned(4096)));

static bool in_page(unsigned int patch, u64 gpa)
{
    return patches[patch].used && (patches[patch].gpa & ~PAGE_MASK) == (gpa & ~PAGE_MASK);
}

const u8 *patches_copy(int page, u64 gpa)
{
    bool any = false;

    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        if (!in_page(i, gpa))
            continue;
        if (!any)
            guest_memory_read(gpa & ~PAGE_MASK, copies[page], PAGE_SIZE);
        any = true;
        copies[page][patches[i].gpa & PAGE_MASK] = INT3;
    }
    return any ? copies[page] : NULL;
}

static int add(u64 linear, u64 gpa)
{
    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        int page, error;

        if (patches[i].used)
            continue;
        page = pages_use(gpa);
        if (page < 0)
            return page;
        patches[i].used = true;
        patches[i].linear = linear;
        patches[i].gpa = gpa;
        hv_intercept_breakpoints(true);
        error = pages_update(page);
        if (error < 0)
            patch_clear(linear);
        return error;
    }
    return ERR_NO_SPACE;
}

int patch_set(const struct vcpu *vcpu, u64 linear)
{
    u64 gpa;

    if (!ept_execute_only())
        return ERR_UNSUPPORTED;
    if (guest_linear_to_gpa_any(vcpu, linear, &gpa) < 0 || !guest_memory_backed(gpa))
        return ERR_FAULT;
    return add(linear, gpa);
}

void patch_clear(u64 linear)
{
    bool left = false;

    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        if (patches[i].used && patches[i].linear == linear) {
            patches[i].used = false;
            pages_release(patches[i].gpa);
        }
        left = left || patches[i].used;
    }
    hv_intercept_breakpoints(left);
}

bool patch_at(const struct vcpu *vcpu, u64 linear)
{
    u64 gpa;

    for (unsigned int i = 0; i < PATCHES_MAX; i++)
        if (patches[i].used && patches[i].linear == linear)
            return guest_linear_to_gpa_any(vcpu, linear, &gpa) == 0 && gpa == patches[i].gpa;
    return false;
}

void patches_memory_written(u64 gpa, u64 size)
{
    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        u64 page = patches[i].gpa & ~PAGE_MASK;

        if (patches[i].used && gpa < page + PAGE_SIZE && gpa + size > page)
            patches_copy(pages_find(page), page);
    }
}
