/* The guest's access to any physical address, carried out by the monitor: RAM, ROM, a device, or
 * nothing. `size` is in bytes. Negative: the run is over. */
#ifndef LVMM_CORE_MEMORY_ACCESS_H
#define LVMM_CORE_MEMORY_ACCESS_H

#include "core/vcpu.h"

int memory_access_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *value);
int memory_access_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value);

#endif
