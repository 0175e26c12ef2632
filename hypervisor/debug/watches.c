#include "debug/watches.h"
#include "core/guest_insn.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "core/mmio_insn.h"
#include "debug/pages.h"
#include "lib/string.h"
#include "link_layout.h"
#include "vmx/ept.h"

#define PARTS_MAX 1024 /* pages that all ranges together have */

static struct watch parts[PARTS_MAX]; /* no two pages in one */
static unsigned int part_count;

static struct watch_hit accessed; /* by the instruction that is to be executed */
static u8 now[PAGE_SIZE];

static bool sees_reads(u8 kind)
{
    return kind == LINK_BREAKPOINT_KIND_WATCH_READ || kind == LINK_BREAKPOINT_KIND_WATCH_ACCESS;
}

/* Also of what is there already. */
static bool sees_all_writes(u8 kind)
{
    return kind == LINK_BREAKPOINT_KIND_WATCH_STORE || kind == LINK_BREAKPOINT_KIND_WATCH_ACCESS;
}

static int add_part(const struct vcpu *vcpu, struct watch part)
{
    if (part_count == PARTS_MAX)
        return ERR_NO_SPACE;
    if (guest_linear_to_gpa_any(vcpu, part.linear, &part.gpa) < 0 || !guest_memory_backed(part.gpa))
        return ERR_FAULT;
    parts[part_count++] = part;
    return pages_update(part.gpa);
}

int watch_set(const struct vcpu *vcpu, u32 id, u8 kind, u64 linear, u32 length)
{
    int error = 0;
    u32 done = 0;

    if (length == 0 || linear + length - 1 < linear)
        return ERR_INVALID;
    if (sees_reads(kind) && !ept_execute_only())
        return ERR_UNSUPPORTED;
    while (done < length && error == 0) {
        struct watch part = {id, kind, guest_page_part(linear + done, length - done), linear + done,
                             0};

        error = add_part(vcpu, part);
        done += part.length;
    }
    if (error < 0)
        watch_clear(id);
    hv_flush_guest_tlb();
    return error;
}

void watch_clear(u32 id)
{
    unsigned int i = 0;

    while (i < part_count) {
        u64 gpa = parts[i].gpa;

        if (parts[i].id != id) {
            i++;
            continue;
        }
        parts[i] = parts[--part_count];
        pages_update(gpa);
    }
    hv_flush_guest_tlb();
}

static bool same_page(u64 a, u64 b)
{
    return (a & ~PAGE_MASK) == (b & ~PAGE_MASK);
}

bool watches_on(u64 gpa)
{
    for (unsigned int i = 0; i < part_count; i++)
        if (same_page(parts[i].gpa, gpa))
            return true;
    return false;
}

unsigned int watches_permissions(u64 gpa)
{
    unsigned int permissions = EPT_ALL;

    for (unsigned int i = 0; i < part_count; i++) {
        if (!same_page(parts[i].gpa, gpa))
            continue;
        permissions &= ~(unsigned int)EPT_WRITE;
        if (sees_reads(parts[i].kind))
            permissions &= ~(unsigned int)EPT_READ;
    }
    return permissions;
}

u8 watch_access_size(const struct vcpu *vcpu)
{
    const struct insn *insn = guest_insn(vcpu);

    return insn != NULL ? mmio_insn_op(insn).size : sizeof(u64);
}

/* Whether such an access is a hit in itself, whatever it does to the content. */
static bool sees(u8 kind, const struct exit *exit)
{
    return (exit->u.memory.read && sees_reads(kind)) ||
           (exit->u.memory.write && sees_all_writes(kind));
}

void watches_access(const struct vcpu *vcpu, const struct exit *exit)
{
    u64 gpa = exit->u.memory.gpa;
    u8 size = watch_access_size(vcpu);

    for (unsigned int i = 0; i < part_count && accessed.id == 0; i++) {
        const struct watch *p = &parts[i];

        if (same_page(p->gpa, gpa) && sees(p->kind, exit) && gpa < p->gpa + p->length &&
            gpa + size > p->gpa)
            accessed = (struct watch_hit){p->id, p->linear + (gpa > p->gpa ? gpa - p->gpa : 0)};
    }
}

/* The first byte that differs, or `size`. */
static u64 difference(const u8 *a, const u8 *b, u64 size)
{
    u64 i = 0;

    while (i < size && a[i] == b[i])
        i++;
    return i;
}

struct watch_hit watches_after(void)
{
    for (unsigned int i = 0; i < part_count; i++) {
        const struct watch *p = &parts[i];
        const u8 *before = pages_before(p->gpa);
        u64 at;

        if (before == NULL || p->kind == LINK_BREAKPOINT_KIND_WATCH_READ)
            continue;
        guest_memory_read(p->gpa, now, p->length);
        at = difference(now, before + (p->gpa & PAGE_MASK), p->length);
        if (at < p->length)
            return (struct watch_hit){p->id, p->linear + at};
    }
    return accessed;
}

void watches_forget(void)
{
    accessed.id = 0;
    pages_forget();
}

struct watch_hit watch_written(const struct watch *w, u64 gpa, const u8 *data, u64 size)
{
    u64 start = gpa > w->gpa ? gpa : w->gpa, at = 0;
    u64 end = gpa + size < w->gpa + w->length ? gpa + size : w->gpa + w->length;

    if (start >= end || w->kind == LINK_BREAKPOINT_KIND_WATCH_READ)
        return (struct watch_hit){0};
    if (w->kind == LINK_BREAKPOINT_KIND_WATCH_WRITE) {
        guest_memory_read(start, now, end - start);
        at = difference(now, data + (start - gpa), end - start);
    }
    if (start + at == end)
        return (struct watch_hit){0};
    return (struct watch_hit){w->id, w->linear + (start + at - w->gpa)};
}

struct watch_hit watches_written(u64 gpa, const u8 *data, u64 size)
{
    struct watch_hit hit = {0};

    for (unsigned int i = 0; i < part_count && hit.id == 0; i++)
        hit = watch_written(&parts[i], gpa, data, size);
    return hit;
}
