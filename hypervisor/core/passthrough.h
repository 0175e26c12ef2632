/* Real devices under the guest's accesses: puts the DMA engine between the guest and the
 * devices that have a DMA profile; keeps the others from becoming bus masters while recording.
 * Never called in replay. */
#ifndef LVMM_CORE_PASSTHROUGH_H
#define LVMM_CORE_PASSTHROUGH_H

#include "core/pci.h"
#include "core/vcpu.h"

/* `shadow`: memory for the rings, in the monitor's region. `keep_sent`: bytes to log of each frame
 * that the guest sends. 0 or a negative error, told. */
int passthrough_init(void *shadow, u64 shadow_size, u32 keep_sent);

u64 passthrough_memory_read(struct vcpu *vcpu, u64 gpa, u8 size);
void passthrough_memory_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value);
u64 passthrough_port_read(struct vcpu *vcpu, u16 port, u8 size);
void passthrough_port_read_string(struct vcpu *vcpu, u16 port, u8 size, u8 *buf, u32 count);
void passthrough_port_write(struct vcpu *vcpu, u16 port, u8 size, u64 value);

/* Whether its DMA is recorded, or it is a bridge and passes that of others on. */
bool passthrough_may_be_master(pci_bdf bdf);
/* The guest may have written a BAR of its. */
void passthrough_moved(pci_bdf bdf);

/* Prints what each device's engine did on the monitor's line. */
void passthrough_report(void);

/* Makes finished DMA visible to the guest at the vCPU's position. */
void passthrough_harvest(struct vcpu *vcpu);

/* Are there devices that find work in memory, which nothing announces? */
bool passthrough_finds_work(void);
/* Gives it to them. To be called often. */
void passthrough_find_work(struct vcpu *vcpu);

#endif
