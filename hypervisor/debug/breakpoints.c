#include "debug/breakpoints.h"
#include "debug/patches.h"
#include "link_layout.h"

#define BREAKPOINTS_MAX 64
#define NO_POINT        HV_DEBUG_POINTS

static struct entry {
    struct breakpoint breakpoint; /* id 0: free */
    unsigned int point;           /* debug register, NO_POINT for a patch */
} entries[BREAKPOINTS_MAX];

static u32 last_id;

static unsigned int free_point(void)
{
    for (unsigned int point = 0; point < HV_DEBUG_POINTS; point++)
        if (breakpoints_point(point).id == 0)
            return point;
    return NO_POINT;
}

static u8 set_software(const struct vcpu *vcpu, u64 address)
{
    /* One patch serves all breakpoints at its address. */
    if (breakpoints_software(address).id != 0)
        return LINK_RESULT_OK;
    switch (patch_set(vcpu, address)) {
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

static u8 set_point(unsigned int point, u8 kind, u64 address, u8 length)
{
    /* The CPU has no watchpoint for reads alone. */
    static const u8 kinds[] = {
        [LINK_BREAKPOINT_KIND_HARDWARE] = HV_DEBUG_EXECUTE,
        [LINK_BREAKPOINT_KIND_WATCH_WRITE] = HV_DEBUG_WRITE,
        [LINK_BREAKPOINT_KIND_WATCH_READ] = HV_DEBUG_ACCESS,
        [LINK_BREAKPOINT_KIND_WATCH_ACCESS] = HV_DEBUG_ACCESS,
    };

    if (point == NO_POINT)
        return LINK_RESULT_NO_SPACE;
    if (hv_set_debug_point(point, kinds[kind], address, length) < 0)
        return LINK_RESULT_UNSUPPORTED;
    return LINK_RESULT_OK;
}

u8 breakpoints_set(const struct vcpu *vcpu, u8 kind, u64 address, u8 length, u32 *id)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++) {
        struct entry *e = &entries[i];
        bool software = kind == LINK_BREAKPOINT_KIND_SOFTWARE;
        unsigned int point = software ? NO_POINT : free_point();
        u8 result;

        if (e->breakpoint.id != 0)
            continue;
        if (kind > LINK_BREAKPOINT_KIND_WATCH_ACCESS)
            return LINK_RESULT_BAD_REQUEST;
        result = software ? set_software(vcpu, address) : set_point(point, kind, address, length);
        if (result != LINK_RESULT_OK)
            return result;
        *id = ++last_id;
        e->breakpoint = (struct breakpoint){kind, address, *id};
        e->point = point;
        return LINK_RESULT_OK;
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
        if (e->point != NO_POINT)
            hv_clear_debug_point(e->point);
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

struct breakpoint breakpoints_software(u64 address)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (entries[i].breakpoint.id != 0 && entries[i].point == NO_POINT &&
            entries[i].breakpoint.address == address)
            return entries[i].breakpoint;
    return (struct breakpoint){0};
}

struct breakpoint breakpoints_point(unsigned int point)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (entries[i].breakpoint.id != 0 && entries[i].point == point)
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
