#include "vmx/ept.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/mtrr.h"

#define EPT_LARGE   BIT(7)
#define EPT_ADDRESS 0x000ffffffffff000ULL
#define EPT_TYPE(t) ((u64)(t) << 3)
#define EPTP_WALK_4 (3 << 3)
#define EPTP_WB     6

#define SIZE_2M    0x200000ULL
#define POOL_PAGES 128
#define POOL_KEPT  16 /* for guest memory and the firmware's pages */

#define CAP_EXECUTE_ONLY BIT(0)
#define CAP_2M           BIT(16)

static u64 root[512] __attribute__((aligned(4096)));
static u64 pool[POOL_PAGES][512] __attribute__((aligned(4096)));
static unsigned int pool_used;
static bool large_pages;

void ept_init(void)
{
    large_pages = rdmsr(MSR_VMX_EPT_VPID_CAP) & CAP_2M;
}

bool ept_execute_only(void)
{
    return rdmsr(MSR_VMX_EPT_VPID_CAP) & CAP_EXECUTE_ONLY;
}

u64 ept_pointer(void)
{
    return (u64)root | EPTP_WALK_4 | EPTP_WB;
}

/* The table that `entry` points to, made when it is absent; NULL when the pool is used up. */
static u64 *next_table(u64 *entry)
{
    if (*entry & EPT_LARGE) {
        u64 *table;

        if (pool_used == POOL_PAGES)
            return NULL;
        table = pool[pool_used++];
        for (u64 i = 0; i < 512; i++)
            table[i] = (*entry & ~EPT_LARGE) + i * PAGE_SIZE;
        *entry = (u64)table | EPT_ALL;
    } else if (*entry == 0) {
        if (pool_used == POOL_PAGES)
            return NULL;
        *entry = (u64)pool[pool_used++] | EPT_ALL;
    }
    return (u64 *)(*entry & EPT_ADDRESS);
}

int ept_map(u64 gpa, u64 hpa, u64 size, unsigned int permissions)
{
    while (size > 0) {
        bool large = large_pages && size >= SIZE_2M && ((gpa | hpa) & (SIZE_2M - 1)) == 0 &&
                     mtrr_uniform(hpa, SIZE_2M);
        u64 step = large ? SIZE_2M : PAGE_SIZE;
        u64 leaf = hpa | permissions | EPT_TYPE(mtrr_type(hpa));
        u64 *pdpt = next_table(&root[gpa >> 39 & 511]);
        u64 *pd = pdpt != NULL ? next_table(&pdpt[gpa >> 30 & 511]) : NULL;
        u64 *pt;

        if (pd == NULL)
            return ERR_NO_SPACE;
        if (large) {
            pd[gpa >> 21 & 511] = leaf | EPT_LARGE;
        } else {
            pt = next_table(&pd[gpa >> 21 & 511]);
            if (pt == NULL)
                return ERR_NO_SPACE;
            pt[gpa >> 12 & 511] = leaf;
        }
        gpa += step;
        hpa += step;
        size -= step;
    }
    return 0;
}

bool ept_room(u64 gpa)
{
    u64 entries[4];

    return ept_lookup(gpa, entries) == ARRAY_SIZE(entries) || pool_used + POOL_KEPT <= POOL_PAGES;
}

int ept_lookup(u64 gpa, u64 entries[4])
{
    u64 *table = root;

    for (int level = 0; level < 4; level++) {
        u64 entry = table[gpa >> (39 - 9 * level) & 511];

        entries[level] = entry;
        if (level == 3 || (entry & EPT_LARGE) || !(entry & EPT_ALL))
            return level + 1;
        table = (u64 *)(entry & EPT_ADDRESS);
    }
    return 4;
}
