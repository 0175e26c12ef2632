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
static unsigned int patch_count;

/* A page's copy is that of its first patch. */
static u8 copies[PATCHES_MAX][PAGE_SIZE] __attribute__((aligned(4096)));

static bool in_page(unsigned int patch, u64 gpa)
{
    return patches[patch].used && (patches[patch].gpa & ~PAGE_MASK) == (gpa & ~PAGE_MASK);
}

bool patches_on(u64 gpa)
{
    for (unsigned int i = 0; i < PATCHES_MAX && patch_count != 0; i++)
        if (in_page(i, gpa))
            return true;
    return false;
}

const u8 *patches_copy(u64 gpa)
{
    u8 *copy = NULL;

    for (unsigned int i = 0; i < PATCHES_MAX && patch_count != 0; i++) {
        if (!in_page(i, gpa))
            continue;
        if (copy == NULL) {
            copy = copies[i];
            guest_memory_read(gpa & ~PAGE_MASK, copy, PAGE_SIZE);
        }
        copy[patches[i].gpa & PAGE_MASK] = INT3;
    }
    return copy;
}

static int add(u64 linear, u64 gpa)
{
    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        int error;

        if (patches[i].used)
            continue;
        patches[i].used = true;
        patches[i].linear = linear;
        patches[i].gpa = gpa;
        patch_count++;
        hv_intercept_breakpoints(true);
        error = pages_update(gpa);
        hv_flush_guest_tlb();
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
    for (unsigned int i = 0; i < PATCHES_MAX; i++) {
        if (!patches[i].used || patches[i].linear != linear)
            continue;
        patches[i].used = false;
        patch_count--;
        pages_update(patches[i].gpa);
    }
    hv_flush_guest_tlb();
    hv_intercept_breakpoints(patch_count != 0);
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
    for (u64 page = gpa & ~PAGE_MASK; page < gpa + size && patch_count != 0; page += PAGE_SIZE)
        patches_copy(page);
}
