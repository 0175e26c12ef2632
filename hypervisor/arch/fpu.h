/* The guest's x87, SSE and AVX state, which is in the CPU all the time. */
#ifndef LVMM_ARCH_FPU_H
#define LVMM_ARCH_FPU_H

#include "lib/types.h"

/* The most bytes that an image can have. */
#define FPU_IMAGE_MAX 4096

/* XCR0 after a reset (SDM vol. 1, section 13.3): no more than FXSAVE has. */
#define XCR0_X87 1

/* The image in XSAVE's standard form with XCR0 in *xcr0, or FXSAVE's with 0 there. Returns its size
 * in bytes, at most `room`; 0 where it does not fit. */
u32 fpu_read(u8 *image, u32 room, u64 *xcr0);
/* ERR_INVALID where the image has another size, or is none that the CPU takes. */
int fpu_write(const u8 *image, u32 size);

#endif
