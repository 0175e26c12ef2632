/* Keeps the guest's writes to PCI configuration space off what the monitor itself stands on: its
 * memory and serial line, under which no device may be put, and the chipset. */
#ifndef LVMM_CORE_PCI_GUARD_H
#define LVMM_CORE_PCI_GUARD_H

#include "lib/types.h"

/* Whether a write of `size` bytes at a data port is to reach the machine, with the address register
 * as the guest wrote it. Leaves the machine's address register anywhere. */
bool pci_guard_allows(u32 address, u16 port, u8 size, u64 value);

#endif
