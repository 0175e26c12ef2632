#include "vmx/ept.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/mtrr.h"
#include "lib/string.h"

#define EPT_LARGE   BIT(7)
#define EPT_ADDRESS 0x000ffffffffff000ULL
#define EPT_TYPE(t) ((u64)(t) << 3)
#define EPTP_WALK_4 (3 << 3)
#define EPTP_WB     6

#define POOL_PAGES 128
#define POOL_KEPT  16 /* for guest memory and the firmware's pages */

#define CAP_EXECUTE_ONLY BIT(0)
#define CAP_2M           BIT(16)

static u64 root[512] __attribute__((aligned(4096)));
static u64 pool[POOL_PAGES][512] __attribute__((aligned(4096)));
static unsigned int pool_used;
static u64 (*added)[512]; /* the next of those that were added */
static u64 added_left;
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

void ept_add_tables(void *tables, u64 count)
{
    added = tables;
    added_left = count;
}

static u64 *new_table(void)
{
    u64 *table = NULL;

    if (added_left != 0) {
        table = *added++;
        added_left--;
        memset(table, 0, PAGE_SIZE);
    } else if (pool_used < POOL_PAGES) {
        table = pool[pool_used++];
    }
    return table;
}

/* The table that `entry` points to, made when it is absent; NULL when there are no more. */
static u64 *next_table(u64 *entry)
{
    u64 *table;

    if (*entry & EPT_LARGE) {
        table = new_table();
        if (table == NULL)
            return NULL;
        for (u64 i = 0; i < 512; i++)
            table[i] = (*entry & ~EPT_LARGE) + i * PAGE_SIZE;
        *entry = (u64)table | EPT_ALL;
    } else if (*entry == 0) {
        table = new_table();
        if (table == NULL)
            return NULL;
        *entry = (u64)table | EPT_ALL;
    }
    return (u64 *)(*entry & EPT_ADDRESS);
}

int ept_map(u64 gpa, u64 hpa, u64 size, unsigned int permissions)
{
    while (size > 0) {
        bool large = large_pages && size >= EPT_LARGE_PAGE &&
                     ((gpa | hpa) & (EPT_LARGE_PAGE - 1)) == 0 && mtrr_uniform(hpa, EPT_LARGE_PAGE);
        u64 step = large ? EPT_LARGE_PAGE : PAGE_SIZE;
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
