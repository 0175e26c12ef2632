#include "core/guest_insn.h"
#include "arch/msr_index.h"
#include "core/code_mode.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"

#define PLACES   64 /* a power of two */
#define ENTRIES  5
#define WINDOW   16 /* bytes; an instruction has one less at most */
#define CR3_BASE 0x000ffffffffff000ULL

/* An instruction in the upper half of the address space, which only 64-bit code reaches: there
 * segments have no part in where it is. */
static struct place {
    u64 rip; /* 0: none */
    u64 cr4;
    /* The walk, from the top. The first entry's address depends on CR3, the others' on the entry
     * before. */
    struct walked_entry entries[ENTRIES];
    unsigned int entry_count;
    const u64 *code;
    u64 bytes[2], mask[2];
    struct insn insn;
} places[PLACES];

static struct place *place_of(u64 rip)
{
    return &places[rip * 0x9e3779b97f4a7c15ULL >> 58];
}

/* Whether the walk and the bytes that it leads to are as they were. */
static bool unchanged(const struct place *p)
{
    const struct walked_entry *e = p->entries;
    u64 top = (hv_read_cr3() & CR3_BASE) + (e[0].gpa & PAGE_MASK);

    if (!guest_memory_plain(top, sizeof(u64)) || *(const u64 *)top != e[0].value ||
        hv_read_cr4() != p->cr4)
        return false;
    for (unsigned int i = 1; i < p->entry_count; i++)
        if (*(const u64 *)e[i].gpa != e[i].value)
            return false;
    return (((p->code[0] ^ p->bytes[0]) & p->mask[0]) |
            ((p->code[1] ^ p->bytes[1]) & p->mask[1])) == 0;
}

static u64 mask_of(unsigned int bytes)
{
    return bytes < sizeof(u64) ? BIT(8 * bytes) - 1 : ~0ULL;
}

/* Keeps what was decoded, where it and the way to it are in plain RAM, and it is on one page. */
static void keep(struct place *p, const struct vcpu *vcpu)
{
    struct guest_walk walk;
    u64 gpa;

    p->rip = 0;
    if (!(vcpu->regs.rip >> 63) || guest_linear_walk_code(vcpu, &gpa, &walk) < 0 ||
        walk.count > ENTRIES || guest_page_part(gpa, WINDOW) < WINDOW ||
        !guest_memory_plain(gpa, WINDOW))
        return;
    for (unsigned int i = 0; i < walk.count; i++) {
        if (!guest_memory_plain(walk.entries[i].gpa, sizeof(u64)))
            return;
        p->entries[i] = walk.entries[i];
    }
    p->entry_count = walk.count;
    p->cr4 = hv_read_cr4();
    p->code = (const u64 *)gpa;
    p->bytes[0] = p->code[0];
    p->bytes[1] = p->code[1];
    p->mask[0] = mask_of(p->insn.length);
    p->mask[1] = p->insn.length > sizeof(u64) ? mask_of(p->insn.length - sizeof(u64)) : 0;
    p->rip = vcpu->regs.rip;
}

const struct insn *guest_insn(const struct vcpu *vcpu)
{
    struct place *p = place_of(vcpu->regs.rip);
    u8 bytes[INSN_MAX_LENGTH];

    if (p->rip == vcpu->regs.rip && p->rip != 0 && unchanged(p))
        return &p->insn;
    p->rip = 0;
    if (decode(bytes, guest_fetch(vcpu, bytes, sizeof(bytes)), code_mode(), &p->insn) < 0)
        return NULL;
    keep(p, vcpu);
    return &p->insn;
}
