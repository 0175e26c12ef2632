/* The guest's registers in the debug link's layouts. */
#ifndef LVMM_DEBUG_REGISTERS_H
#define LVMM_DEBUG_REGISTERS_H

#include "core/vcpu.h"
#include "link_layout.h"

void registers_read(const struct vcpu *vcpu, struct link_registers *out);
/* ERR_UNSUPPORTED for those that cannot be set. */
int registers_write(struct vcpu *vcpu, u16 id, u64 value);

/* x87, SSE, AVX: the image in XSAVE's standard form with XCR0 in *xcr0, or FXSAVE's with 0 there.
 * Returns its size in bytes, at most `room`. */
u32 fpu_read(u8 *image, u32 room, u64 *xcr0);
/* ERR_INVALID where the image has another size, or is none that the CPU takes. */
int fpu_write(const u8 *image, u32 size);

#endif
