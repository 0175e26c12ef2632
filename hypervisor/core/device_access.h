/* The guest's accesses to real devices: forwarded and logged in record, answered from the log in
 * replay, where no device is touched. `size` is in bytes. */
#ifndef LVMM_CORE_DEVICE_ACCESS_H
#define LVMM_CORE_DEVICE_ACCESS_H

#include "core/vcpu.h"

int device_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *value);
void device_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value);

int port_read(struct vcpu *vcpu, u16 port, u8 size, u64 *value);
/* `count` elements into `buf`, at most EVENT_PAGE_SIZE bytes of them. */
int port_read_string(struct vcpu *vcpu, u16 port, u8 size, u8 *buf, u32 count);
/* May end the session: a write can power the machine off. */
void port_write(struct vcpu *vcpu, u16 port, u8 size, u64 value);

/* What is remembered of the guest's writes. */
void device_access_save(struct log_cpu_state *out);
void device_access_restore(const struct log_cpu_state *from);

/* The bare accesses. */
u64 raw_memory_read(u64 address, u8 size);
void raw_memory_write(u64 address, u8 size, u64 value);
u64 raw_port_read(u16 port, u8 size);
void raw_port_write(u16 port, u8 size, u64 value);
void raw_port_read_string(u16 port, u8 size, u8 *buf, u32 count);

#endif
