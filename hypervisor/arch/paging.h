/* The monitor's own page tables: identity, W^X (SDM vol. 3, section 4.5). */
#ifndef LVMM_ARCH_PAGING_H
#define LVMM_ARCH_PAGING_H

#include "lib/types.h"

/* Maps the monitor's image by section (text RX, rodata R, data RW+NX), leaves the guard pages of
 * the stacks and page 0 unmapped, and the rest of the first 512 GiB RW+NX (what is RAM and what is
 * device there is for the MTRRs to say). Switches CR3. */
void paging_init(void);
/* End of the physical memory that is mapped: 512 GiB, or 4 GiB on a CPU without 1 GiB pages. */
u64 paging_mapped_end(void);

#endif
