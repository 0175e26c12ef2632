/* The guest's registers in the debug link's layouts. */
#ifndef LVMM_DEBUG_REGISTERS_H
#define LVMM_DEBUG_REGISTERS_H

#include "core/vcpu.h"
#include "link_layout.h"

void registers_read(const struct vcpu *vcpu, struct link_registers *out);
/* ERR_UNSUPPORTED for those that cannot be set. */
int registers_write(struct vcpu *vcpu, u16 id, u64 value);

#endif
