#include "debug/breakpoints.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "debug/patches.h"
#include "debug/watches.h"
#include "link_layout.h"

#define BREAKPOINTS_MAX 256
#define NO_POINT        HV_DEBUG_POINTS

static struct entry {
    struct breakpoint breakpoint; /* id 0: free */
    enum { BY_PATCH, BY_POINT, BY_PAGE } means;
    unsigned int point; /* which, if it is one of the debug registers */
    u32 length;
} entries[BREAKPOINTS_MAX];

static struct entry *points[HV_DEBUG_POINTS];
static u32 last_id; /* 0: there has been none */

static unsigned int free_point(void)
{
    for (unsigned int point = 0; point < HV_DEBUG_POINTS; point++)
        if (points[point] == NULL)
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
    case ERR_INVALID:
        return LINK_RESULT_BAD_REQUEST;
    default:
        return LINK_RESULT_NO_SPACE;
    }
}

/* The CPU has no watchpoint for reads alone. */
static int set_point(unsigned int point, const struct breakpoint *b, u32 length)
{
    static const u8 kinds[] = {
        [LINK_BREAKPOINT_KIND_HARDWARE] = HV_DEBUG_EXECUTE,
        [LINK_BREAKPOINT_KIND_WATCH_WRITE] = HV_DEBUG_WRITE,
        [LINK_BREAKPOINT_KIND_WATCH_READ] = HV_DEBUG_ACCESS,
        [LINK_BREAKPOINT_KIND_WATCH_ACCESS] = HV_DEBUG_ACCESS,
        [LINK_BREAKPOINT_KIND_WATCH_STORE] = HV_DEBUG_WRITE,
    };

    if (point == NO_POINT)
        return ERR_NO_SPACE;
    if (length > sizeof(u64))
        return ERR_INVALID;
    return hv_set_debug_point(point, kinds[b->kind], b->address, (u8)length);
}

/* It is not among the entries yet: it has no number. */
static int set_entry(const struct vcpu *vcpu, struct entry *e, u32 id)
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
    error = set_point(e->point, b, e->length);
    if (error < 0 && b->kind != LINK_BREAKPOINT_KIND_HARDWARE) {
        e->means = BY_PAGE;
        error = watch_set(vcpu, id, b->kind, b->address, e->length);
    } else if (error == 0) {
        points[e->point] = e;
    }
    return error;
}

u8 breakpoints_set(const struct vcpu *vcpu, u8 kind, u64 address, u32 length, u32 *id)
{
    if (kind > LINK_BREAKPOINT_KIND_WATCH_STORE)
        return LINK_RESULT_BAD_REQUEST;
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++) {
        struct entry *e = &entries[i];
        int error;

        if (e->breakpoint.id != 0)
            continue;
        *e = (struct entry){.breakpoint = {kind, address, 0}, .length = length};
        error = set_entry(vcpu, e, last_id + 1);
        if (error == 0)
            *id = e->breakpoint.id = ++last_id;
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
        if (e->means == BY_POINT) {
            points[e->point] = NULL;
            hv_clear_debug_point(e->point);
        } else if (e->means == BY_PAGE)
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

static struct breakpoint hit(struct watch_hit hit)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX && hit.id != 0; i++)
        if (entries[i].breakpoint.id == hit.id)
            return (struct breakpoint){entries[i].breakpoint.kind, hit.address, hit.id};
    return (struct breakpoint){0};
}

struct breakpoint breakpoints_after_access(void)
{
    return hit(watches_after());
}

/* A debug register is for a linear address, wherever that is in memory at the moment. */
static struct watch_hit point_written(const struct vcpu *vcpu, const struct entry *e, u64 gpa,
                                      const void *data, u64 size)
{
    struct watch w = {e->breakpoint.id, e->breakpoint.kind, e->length, e->breakpoint.address, 0};

    if (w.kind == LINK_BREAKPOINT_KIND_HARDWARE ||
        guest_linear_to_gpa_any(vcpu, w.linear, &w.gpa) < 0 || !guest_memory_backed(w.gpa))
        return (struct watch_hit){0};
    return watch_written(&w, gpa, data, size);
}

bool breakpoints_used(void)
{
    return last_id != 0;
}

struct breakpoint breakpoints_written(const struct vcpu *vcpu, u64 gpa, const void *data, u64 size)
{
    struct watch_hit found = watches_written(gpa, data, size);

    for (unsigned int i = 0; i < HV_DEBUG_POINTS && found.id == 0; i++)
        if (points[i] != NULL)
            found = point_written(vcpu, points[i], gpa, data, size);
    return hit(found);
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
    return points[point] != NULL ? points[point]->breakpoint : (struct breakpoint){0};
}

static struct breakpoint hardware_at(u64 address)
{
    for (unsigned int i = 0; i < BREAKPOINTS_MAX; i++)
        if (entries[i].breakpoint.id != 0 &&
            entries[i].breakpoint.kind == LINK_BREAKPOINT_KIND_HARDWARE &&
            entries[i].breakpoint.address == address)
            return entries[i].breakpoint;
    return (struct breakpoint){0};
}

bool breakpoints_hardware_at(u64 address)
{
    return hardware_at(address).id != 0;
}

struct breakpoint breakpoints_at(u64 address)
{
    struct breakpoint found = breakpoints_software(address);

    return found.id != 0 ? found : hardware_at(address);
}
