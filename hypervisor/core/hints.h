/* Devices that no profile describes, whose driver tells of its DMA by hypercalls
 * (guest_support/lvmm_abi.h). Between two of these, what the device and the driver share is brought
 * up to date where the DMA of other devices is harvested. Never called in replay, which has the
 * calls' results from the log. */
#ifndef LVMM_CORE_HINTS_H
#define LVMM_CORE_HINTS_H

#include "core/pci.h"
#include "core/vcpu.h"

/* `shadow`: memory for what drivers declare, page-aligned. Without it no device can be attached. */
void hints_init(u8 *shadow, u64 size);

/* Carries out LVMM_CALL_DMA_*: the call's result. While nothing is recorded a buffer's address for
 * the device is its own. */
u64 hints_call(struct vcpu *vcpu, u64 function, u64 address, u64 length, u64 number);

/* Whether a driver declares what this device does. */
bool hints_has(pci_bdf bdf);

/* The guest wrote to this device's configuration space. */
void hints_configured(pci_bdf bdf);
/* The guest accesses a register, after a read and before a write. */
void hints_on_memory(struct vcpu *vcpu, u64 gpa);
void hints_on_port(struct vcpu *vcpu, u16 port);
/* An interrupt is about to be delivered. One of the processor's own timer tells of no device. */
void hints_on_interrupt(struct vcpu *vcpu, u8 vector);
void hints_harvest(struct vcpu *vcpu);

void hints_report(void);

#endif
