/* PCI configuration by ports 0xcf8 and 0xcfc (PCI 2.3, 3.2.2.3.2), bus 0, function 0. */
#ifndef APPLIANCE_PCI_H
#define APPLIANCE_PCI_H

#include "cpu.h"

#define PCI_NONE           (~0u)
#define PCI_COMMAND        0x04
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_BAR0           0x10
#define PCI_BAR_ADDRESS    (~15u)
#define PCI_INTERRUPT      0x3c
#define PCI_INTERRUPT_LINE 0xffu

u32 pci_read(u32 device, u32 offset);
void pci_write(u32 device, u32 offset, u32 value);

/* The number of the first device with this ID (device << 16 | vendor), or PCI_NONE. */
u32 pci_find(u32 id);

#endif
