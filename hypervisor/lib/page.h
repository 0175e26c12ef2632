#ifndef LVMM_LIB_PAGE_H
#define LVMM_LIB_PAGE_H

#include "lib/types.h"

static inline bool page_is_zero(const void *page)
{
    for (const u64 *w = page, *end = w + PAGE_SIZE / sizeof(*w); w < end; w += 8)
        if (w[0] | w[1] | w[2] | w[3] | w[4] | w[5] | w[6] | w[7])
            return false;
    return true;
}

#endif
