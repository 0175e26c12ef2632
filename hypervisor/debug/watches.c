#include "debug/watches.h"
#include "core/code_mode.h"
#include "core/decode.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "core/mmio_insn.h"
#include "debug/pages.h"
#include "lib/string.h"
#include "link_layout.h"
#include "vmx/ept.h"

#define WATCHES_MAX 16

static struct watch {
    u32 id; /* 0: free */
    u8 kind, length;
    u64 gpa;
    u8 before[WATCH_LENGTH_MAX];
} watches[WATCHES_MAX];

static u32 read_hit;

int watch_set(const struct vcpu *vcpu, u32 id, u8 kind, u64 linear, u8 length)
{
    u64 gpa;

    if (length == 0 || (linear & PAGE_MASK) + length > PAGE_SIZE)
        return ERR_UNSUPPORTED;
    if (guest_linear_to_gpa_any(vcpu, linear, &gpa) < 0 || !guest_memory_backed(gpa))
        return ERR_FAULT;
    for (unsigned int i = 0; i < WATCHES_MAX; i++) {
        int page;

        if (watches[i].id != 0)
            continue;
        page = pages_use(gpa);
        if (page < 0)
            return page;
        watches[i] = (struct watch){.id = id, .kind = kind, .length = length, .gpa = gpa};
        return pages_update(page);
    }
    return ERR_NO_SPACE;
}

void watch_clear(u32 id)
{
    for (unsigned int i = 0; i < WATCHES_MAX; i++) {
        if (watches[i].id != id)
            continue;
        watches[i].id = 0;
        pages_release(watches[i].gpa);
    }
}

unsigned int watches_permissions(u64 gpa)
{
    unsigned int permissions = EPT_ALL;

    for (unsigned int i = 0; i < WATCHES_MAX; i++) {
        if (watches[i].id == 0 || (watches[i].gpa & ~PAGE_MASK) != (gpa & ~PAGE_MASK))
            continue;
        permissions &= ~(unsigned int)EPT_WRITE;
        if (watches[i].kind != LINK_BREAKPOINT_KIND_WATCH_WRITE)
            permissions &= ~(unsigned int)EPT_READ;
    }
    return permissions;
}

/* Bytes that the instruction at RIP accesses, as far as it is one that the monitor knows. */
static u8 access_size(const struct vcpu *vcpu)
{
    u8 bytes[INSN_MAX_LENGTH];
    struct insn insn;
    u32 n = guest_fetch(vcpu, bytes, sizeof(bytes));

    if (decode(bytes, n, code_mode(), &insn) == 0)
        return mmio_insn_op(&insn).size;
    return sizeof(u64);
}

void watches_before(const struct vcpu *vcpu, const struct exit *exit)
{
    u64 gpa = exit->u.memory.gpa;
    u8 size = access_size(vcpu);

    read_hit = 0;
    for (unsigned int i = 0; i < WATCHES_MAX; i++) {
        struct watch *w = &watches[i];

        if (w->id == 0)
            continue;
        guest_memory_read(w->gpa, w->before, w->length);
        if (exit->u.memory.read && w->kind != LINK_BREAKPOINT_KIND_WATCH_WRITE &&
            gpa < w->gpa + w->length && gpa + size > w->gpa)
            read_hit = w->id;
    }
}

u32 watches_after(void)
{
    u8 now[WATCH_LENGTH_MAX];

    for (unsigned int i = 0; i < WATCHES_MAX; i++) {
        const struct watch *w = &watches[i];

        if (w->id == 0 || w->kind == LINK_BREAKPOINT_KIND_WATCH_READ)
            continue;
        guest_memory_read(w->gpa, now, w->length);
        if (memcmp(now, w->before, w->length) != 0)
            return w->id;
    }
    return read_hit;
}
