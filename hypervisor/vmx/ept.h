/* Extended page tables: what the guest may touch without an exit (SDM vol. 3, section 29.3). */
#ifndef LVMM_VMX_EPT_H
#define LVMM_VMX_EPT_H

#include "lib/types.h"

#define EPT_LARGE_PAGE 0x200000ULL /* bytes */

enum ept_permission {
    EPT_READ = 1,
    EPT_WRITE = 2,
    EPT_EXECUTE = 4,
    EPT_ALL = 7,
};

void ept_init(void);
/* The EPT pointer for the VMCS. */
u64 ept_pointer(void);
/* So many more tables, at a page-aligned address. They are used first. */
void ept_add_tables(void *tables, u64 count);
/* Maps [gpa, gpa + size), page-aligned, to hpa; large pages where both are aligned. The memory
 * type is that of the MTRRs for hpa. ERR_NO_SPACE when the tables' pool is used up. */
int ept_map(u64 gpa, u64 hpa, u64 size, unsigned int permissions);
/* Whether a page can be mapped by itself without the tables that are kept for memory. */
bool ept_room(u64 gpa);
/* Whether EPT_EXECUTE alone is a permission that the CPU knows (SDM vol. 3, section A.10). */
bool ept_execute_only(void);
/* The entries that translate `gpa`, root first: how many there are, 1 to 4. */
int ept_lookup(u64 gpa, u64 entries[4]);

#endif
