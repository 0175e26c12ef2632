/* Walks the guest's page tables as the CPU would (SDM vol. 3, chapter 4), without side effects. */
#include "core/guest_paging.h"

#include "arch/msr_index.h"

/* Control bits that only the guest uses (SDM vol. 3, section 2.5). */
#define CR4_PSE  BIT(4)
#define CR4_LA57 BIT(12)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKS  BIT(24)

/* Entries of paging structures (SDM vol. 3, section 4.5.5). */
#define ENTRY_PRESENT    BIT(0)
#define ENTRY_WRITABLE   BIT(1)
#define ENTRY_USER       BIT(2)
#define ENTRY_LARGE      BIT(7)
#define ENTRY_NO_EXECUTE BIT(63)
#define ENTRY_ADDRESS    0x000ffffffffff000ULL
#define ENTRY_KEY(entry) ((entry) >> 59 & 0xf)

#define PDPTE_COUNT 4

enum paging_mode {
    PAGING_32BIT,
    PAGING_PAE,
    PAGING_4LEVEL,
    PAGING_5LEVEL,
};

struct walk {
    const struct guest_paging *paging;
    const struct guest_phys_ops *ops;
    enum paging_mode mode;
    u64 linear;
    /* Result: */
    u64 entry; /* that maps the page */
    unsigned page_bits;
    bool writable, user, executable; /* the rights that all levels together give */
};

static enum paging_mode paging_mode(const struct guest_paging *paging)
{
    if (paging->efer & EFER_LMA)
        return (paging->cr4 & CR4_LA57) ? PAGING_5LEVEL : PAGING_4LEVEL;
    return (paging->cr4 & CR4_PAE) ? PAGING_PAE : PAGING_32BIT;
}

static bool canonical(u64 linear, enum paging_mode mode)
{
    unsigned unused_bits;

    if (mode != PAGING_4LEVEL && mode != PAGING_5LEVEL)
        return true;
    unused_bits = mode == PAGING_5LEVEL ? 64 - 57 : 64 - 48;
    return (u64)((s64)(linear << unused_bits) >> unused_bits) == linear;
}

/* Bits high:low. */
static u64 bit_range(unsigned high, unsigned low)
{
    return high < low ? 0 : (BIT(high - low + 1) - 1) << low;
}

static bool is_large(const struct walk *walk, u64 entry, unsigned level)
{
    if (!(entry & ENTRY_LARGE))
        return false;
    if (walk->mode == PAGING_32BIT)
        return level == 2 && walk->paging->cr4 & CR4_PSE;
    return level == 2 || level == 3;
}

/* SDM vol. 3, tables 4-4 (with PSE-36), 4-9 to 4-11 and 4-15 to 4-20. */
static u64 reserved_bits(const struct walk *walk, bool large, unsigned level, unsigned page_bits)
{
    unsigned width = walk->paging->maxphyaddr;
    u64 reserved;

    if (walk->mode == PAGING_32BIT) {
        if (!large)
            return 0;
        return BIT(21) | (width < 40 ? bit_range(20, width < 32 ? 13 : width - 19) : 0);
    }
    reserved = bit_range(walk->mode == PAGING_PAE ? 62 : 51, width);
    if (!(walk->paging->efer & EFER_NXE))
        reserved |= ENTRY_NO_EXECUTE;
    if (large)
        reserved |= bit_range(page_bits - 1, 13);
    else if (level > 3)
        reserved |= ENTRY_LARGE;
    return reserved;
}

static u64 page_frame(const struct walk *walk)
{
    u64 frame = walk->entry & ENTRY_ADDRESS & ~(BIT(walk->page_bits) - 1);

    if (walk->mode == PAGING_32BIT && walk->page_bits == 22)
        frame |= (walk->entry & bit_range(20, 13)) << (32 - 13);
    return frame;
}

static int read_entry(const struct walk *walk, u64 gpa, unsigned size, u64 *entry)
{
    *entry = 0;
    return walk->ops->read(walk->ops->ctx, gpa, entry, size) < 0 ? ERR_UNSUPPORTED : 0;
}

/*
 * The page directory of PAE paging. PDPTEs give no rights, and the CPU checks their reserved bits
 * when it loads them, not here (SDM vol. 3, section 4.4.1).
 */
static int pae_directory(const struct walk *walk, u64 *table, u32 *pf_error)
{
    const struct guest_paging *paging = walk->paging;
    unsigned index = walk->linear >> 30 & (PDPTE_COUNT - 1);
    u64 pdpte;

    if (paging->pdpte) {
        pdpte = paging->pdpte[index];
    } else {
        int error = read_entry(walk, (paging->cr3 & 0xffffffe0) + 8 * index, 8, &pdpte);

        if (error)
            return error;
    }
    if (!(pdpte & ENTRY_PRESENT)) {
        *pf_error = 0;
        return ERR_FAULT;
    }
    *table = pdpte & ENTRY_ADDRESS;
    return 0;
}

/* From the structure at table down to the entry that maps the page. */
static int walk_tables(struct walk *walk, u64 table, unsigned top_level, u32 *pf_error)
{
    unsigned entry_size = walk->mode == PAGING_32BIT ? 4 : 8;
    unsigned index_bits = walk->mode == PAGING_32BIT ? 10 : 9;

    walk->writable = walk->user = walk->executable = true;
    for (unsigned level = top_level;; level--) {
        unsigned page_bits = 12 + (level - 1) * index_bits;
        u64 index = walk->linear >> page_bits & (BIT(index_bits) - 1);
        u64 entry;
        bool large;
        int error = read_entry(walk, table + index * entry_size, entry_size, &entry);

        if (error)
            return error;
        if (!(entry & ENTRY_PRESENT)) {
            *pf_error = 0;
            return ERR_FAULT;
        }
        large = is_large(walk, entry, level);
        if (entry & reserved_bits(walk, large, level, page_bits)) {
            *pf_error = PF_PRESENT | PF_RESERVED;
            return ERR_FAULT;
        }
        walk->writable &= !!(entry & ENTRY_WRITABLE);
        walk->user &= !!(entry & ENTRY_USER);
        walk->executable &= !(entry & ENTRY_NO_EXECUTE);
        if (large || level == 1) {
            walk->entry = entry;
            walk->page_bits = page_bits;
            return 0;
        }
        table = entry & ENTRY_ADDRESS;
    }
}

static int walk_from_cr3(struct walk *walk, u32 *pf_error)
{
    u64 cr3 = walk->paging->cr3;
    u64 directory;
    int error;

    switch (walk->mode) {
    case PAGING_32BIT:
        return walk_tables(walk, cr3 & 0xfffff000, 2, pf_error);
    case PAGING_PAE:
        error = pae_directory(walk, &directory, pf_error);
        return error ? error : walk_tables(walk, directory, 2, pf_error);
    case PAGING_4LEVEL:
        return walk_tables(walk, cr3 & ENTRY_ADDRESS, 4, pf_error);
    default:
        return walk_tables(walk, cr3 & ENTRY_ADDRESS, 5, pf_error);
    }
}

/* SDM vol. 3, section 4.6.1. */
static bool rights_permit(const struct walk *walk, unsigned access)
{
    const struct guest_paging *paging = walk->paging;

    if (paging->user && !walk->user)
        return false;
    if (access & GUEST_ACCESS_FETCH) {
        if (!walk->executable)
            return false;
        if (!paging->user && walk->user && paging->cr4 & CR4_SMEP)
            return false;
    }
    if (access & (GUEST_ACCESS_READ | GUEST_ACCESS_WRITE)) {
        if (!paging->user && walk->user && paging->cr4 & CR4_SMAP && !paging->rflags_ac)
            return false;
    }
    if (access & GUEST_ACCESS_WRITE) {
        if (!walk->writable && (paging->user || paging->cr0 & CR0_WP))
            return false;
    }
    return true;
}

/* SDM vol. 3, section 4.6.2: PKRU holds two bits for each key, access-disable and write-disable. */
static bool protection_key_permits(const struct walk *walk, unsigned access)
{
    const struct guest_paging *paging = walk->paging;
    unsigned rights;

    if (walk->mode < PAGING_4LEVEL || !(paging->cr4 & CR4_PKE) || !walk->user)
        return true;
    rights = paging->pkru >> (2 * ENTRY_KEY(walk->entry)) & 3;
    if (access & (GUEST_ACCESS_READ | GUEST_ACCESS_WRITE) && rights & 1)
        return false;
    return !(access & GUEST_ACCESS_WRITE && rights & 2 && (paging->user || paging->cr0 & CR0_WP));
}

static int check_access(const struct walk *walk, unsigned access, u32 *pf_error)
{
    bool key_permits = protection_key_permits(walk, access);

    if (key_permits && rights_permit(walk, access))
        return 0;
    *pf_error = PF_PRESENT | (key_permits ? 0 : PF_PROTECTION_KEY);
    return ERR_FAULT;
}

/* The part of the error code that describes the access, whatever the cause of the fault is. */
static u32 access_error_bits(const struct guest_paging *paging, unsigned access)
{
    bool no_execute = paging->cr4 & CR4_PAE && paging->efer & EFER_NXE;
    u32 bits = paging->user ? PF_USER : 0;

    if (access & GUEST_ACCESS_WRITE)
        bits |= PF_WRITE;
    if (access & GUEST_ACCESS_FETCH && (no_execute || paging->cr4 & CR4_SMEP))
        bits |= PF_FETCH;
    return bits;
}

int guest_translate(const struct guest_paging *paging, u64 linear, unsigned access,
                    const struct guest_phys_ops *ops, u64 *gpa, u32 *pf_error)
{
    struct walk walk = {.paging = paging, .ops = ops, .mode = paging_mode(paging)};
    int error;

    if (walk.mode == PAGING_32BIT || walk.mode == PAGING_PAE)
        linear &= 0xffffffff;
    if (!(paging->cr0 & CR0_PG)) {
        *gpa = linear;
        return 0;
    }
    if (paging->cr4 & CR4_PKS)
        return ERR_UNSUPPORTED;
    if (!canonical(linear, walk.mode))
        return ERR_INVALID;
    walk.linear = linear;
    error = walk_from_cr3(&walk, pf_error);
    if (!error)
        error = check_access(&walk, access, pf_error);
    if (error == ERR_FAULT)
        *pf_error |= access_error_bits(paging, access);
    if (!error)
        *gpa = page_frame(&walk) | (linear & (BIT(walk.page_bits) - 1));
    return error;
}
