/* How the guest's current code is to be decoded. */
#ifndef LVMM_CORE_CODE_MODE_H
#define LVMM_CORE_CODE_MODE_H

#include "arch/msr_index.h"
#include "core/decode.h"
#include "core/vcpu.h"

#define ACCESS_LONG BIT(13) /* CS.L */
#define ACCESS_BIG  BIT(14) /* CS.D */

static inline enum decode_mode code_mode(void)
{
    u32 access = hv_segment_access(SEG_CS);

    if ((hv_read_efer() & EFER_LMA) && (access & ACCESS_LONG))
        return DECODE_64;
    return access & ACCESS_BIG ? DECODE_32 : DECODE_16;
}

#endif
