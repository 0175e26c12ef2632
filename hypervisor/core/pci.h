/* PCI configuration space by the ports 0xCF8 and 0xCFC (PCI 3.0, section 3.2.2.3.2). */
#ifndef LVMM_CORE_PCI_H
#define LVMM_CORE_PCI_H

#include "lib/types.h"

#define PCI_CONFIG_ADDRESS 0xcf8
#define PCI_CONFIG_DATA    0xcfc

#define PCI_VENDOR_ID   0x00
#define PCI_COMMAND     0x04
#define PCI_CLASS       0x08
#define PCI_HEADER_TYPE 0x0c
#define PCI_BAR0        0x10
#define PCI_ROM         0x30

#define PCI_COMMAND_MASTER 0x4
#define PCI_CLASS_BRIDGE   0x06

/* Bus, device and function as in bits 23..8 of the address register. */
typedef u16 pci_bdf;

/* The monitor's own accesses; the guest's address register is restored by pci_restore_address(). */
u32 pci_read(pci_bdf bdf, u8 offset);
void pci_write(pci_bdf bdf, u8 offset, u32 value);
void pci_restore_address(u32 guest_address);

/* The next function that there is after `*at`, which begins as -1. False: there are no more. */
bool pci_next_function(s32 *at);

#endif
