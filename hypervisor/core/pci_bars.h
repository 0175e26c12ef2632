/* Where the registers of a PCI device are (PCI 3.0, section 6.2.5.1), for devices of which nothing
 * else is known. */
#ifndef LVMM_CORE_PCI_BARS_H
#define LVMM_CORE_PCI_BARS_H

#include "core/pci.h"

#define PCI_BAR_COUNT 6

struct pci_bar {
    u64 base; /* 0: not decoded */
    u64 size; /* bytes; 0: there is none */
    bool ports, wide;
};

/* Finds the sizes; the device decodes nothing meanwhile. Leaves the machine's address register
 * anywhere, as the next. */
void pci_size_bars(pci_bdf bdf, struct pci_bar bars[PCI_BAR_COUNT]);
/* Where they are now. */
void pci_place_bars(pci_bdf bdf, struct pci_bar bars[PCI_BAR_COUNT]);

/* Whether one of them has this address or port. */
bool pci_bars_have(const struct pci_bar bars[PCI_BAR_COUNT], bool ports, u64 address);

#endif
