#include "debug/breakpoints.h"
#include "debug/patches.h"
#include "debug/watches.h"
#include "link_layout.h"

#define BREAKPOINTS_MAX 64
#define NO_POINT        HV_DEBUG_POINTS

static struct entry {
    struct breakpoint breakpoint; /* id 0: free */
    enum { BY_PATCH, BY_POINT, BY_PAGE } means;
    unsigned int point; /* which, if it is one of the debug registers */
} entries[BREAKPOINTS_MAX];

static u32 last_id;

static unsigned int free_point(void)
{
    for (unsigned int point = 0; point < HV_DEBUG_POINTS; point++)
        if (breakpoints_point(point).id == 0)
            return point;
    return NO_POINT;
}

static u8 result_of(int error)
{
    switch (error) {
    case 0:
        return LINK_RESULT_OK;
    case ERR_FAULT:
        return LINK_RESULT_FAULT;
    case ERR_UNSUPPORTED:
        return LINK_RESULT_UNSUPPORTED;
    default:
        return LINK_RESULT_NO_SPACE;
    }
}

/* The CPU has no watchpoint for reads alone. */
static int set_point(unsigned int point, const struct breakpoint *b, u8 length)
{
    static const u8 kinds[] = {
        [LINK_BREAKPOINT_KIND_HARDWARE] = HV_DEBUG_EXECUTE,
        [LINK_BREAKPOINT_KIND_WATCH_WRITE] = HV_DEBUG_WRITE,
        [LINK_BREAKPOINT_KIND_WATCH_READ] = HV_DEBUG_ACCESS,
        [LINK_BREAKPOINT_KIND_WATCH_ACCESS] = HV_DEBUG_ACCESS,
    };

    if (point == NO_POINT)
        return ERR_NO_SPACE;
    return hv_set_debug_point(point, kinds[b->kind], b->address, length);
}

static int set_entry(const struct vcpu *vcpu, struct entry *e, u8 length)
{
    const struct breakpoint *b = &e->breakpoint;
    int error;

    if (b->kind == LINK_BREAKPOINT_KIND_SOFTWARE) {
        e->means = BY_PATCH;
        /* One patch serves all breakpoints at its address. */
        return breakpoints_software(b->address).id != 0 ? 0 : patch_set(vcpu, b->address);
    }
    e->means = BY_POINT;
    e->point = free_point();
    error = set_point(e->point, b, length);
    if (error < 0 && b->kind != LINK_BREAKPOINT_KIND_HARDWARE) {
        e->means = BY_PAGE;
        error = watch_set(vcpu, b->id, b->kind, b->address, length);
    }
    return error;
}

u8 breakpoints_set(const struct vcpu *vcpu, u8 kind, u64 address, u8 length, u32 *id)
{
    if (kind > LINK_BREAKPOINT_KIND_WATCH_ACCESS)
        return LINK_RESULT_BAD_REQUEST;
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++) {
        struct entry new = {.breakpoint = {kind, address, last_id + 1}};
        int error;

        if (entries[i].breakpoint.id != 0)
            continue;
        error = set_entry(vcpu, &new, length);
        if (error == 0) {
            entries[i] = new;
            *id = ++last_id;
        }
        return result_of(error);
    }
    return LINK_RESULT_NO_SPACE;
}

u8 breakpoints_clear(u32 id)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++) {
        struct entry *e = &entries[i];

        if (id == 0 || e->breakpoint.id != id)
            continue;
        e->breakpoint.id = 0;
        if (e->means == BY_POINT)
            hv_clear_debug_point(e->point);
        else if (e->means == BY_PAGE)
            watch_clear(id);
        else if (breakpoints_software(e->breakpoint.address).id == 0)
            patch_clear(e->breakpoint.address);
        return LINK_RESULT_OK;
    }
    return LINK_RESULT_BAD_REQUEST;
}

void breakpoints_clear_all(void)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        breakpoints_clear(entries[i].breakpoint.id);
}

struct breakpoint breakpoints_by_id(u32 id)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (id != 0 && entries[i].breakpoint.id == id)
            return entries[i].breakpoint;
    return (struct breakpoint){0};
}

struct breakpoint breakpoints_software(u64 address)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (entries[i].breakpoint.id != 0 && entries[i].means == BY_PATCH &&
            entries[i].breakpoint.address == address)
            return entries[i].breakpoint;
    return (struct breakpoint){0};
}

struct breakpoint breakpoints_point(unsigned int point)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (entries[i].breakpoint.id != 0 && entries[i].means == BY_POINT &&
            entries[i].point == point)
            return entries[i].breakpoint;
    return (struct breakpoint){0};
}

bool breakpoints_hardware_at(u64 address)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (entries[i].breakpoint.id != 0 &&
            entries[i].breakpoint.kind == LINK_BREAKPOINT_KIND_HARDWARE &&
            entries[i].breakpoint.address == address)
            return true;
    return false;
}
