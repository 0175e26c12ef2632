/* Memory types by the MTRRs that the firmware set (SDM vol. 3, section 12.11). */
#ifndef LVMM_ARCH_MTRR_H
#define LVMM_ARCH_MTRR_H

#include "lib/types.h"

enum memory_cache_type {
    CACHE_UC = 0,
    CACHE_WC = 1,
    CACHE_WT = 4,
    CACHE_WP = 5,
    CACHE_WB = 6,
};

void mtrr_init(void);
/* The type of the page at hpa. */
u8 mtrr_type(u64 hpa);
/* Whether all of [hpa, hpa + size), a power of two and aligned, has one type. */
bool mtrr_uniform(u64 hpa, u64 size);

#endif
