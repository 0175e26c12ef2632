/* Capabilities of PCI functions (PCI 3.0, section 6.7). Those by which a device would do what is
 * not recorded are not shown to the guest: its driver does without. */
#ifndef LVMM_CORE_PCI_CAPABILITIES_H
#define LVMM_CORE_PCI_CAPABILITIES_H

#include "core/pci.h"

#define PCI_CAPABILITIES_MAX 48 /* of 4 bytes each, more have no room */

struct pci_capability {
    u8 id, offset;
    bool hidden;
};

/* In the order of the function's list; their number. */
unsigned int pci_capabilities(pci_bdf bdf, struct pci_capability list[PCI_CAPABILITIES_MAX]);

/* What the guest gets for the dword at `offset`, which reads as `value`. */
u32 pci_capabilities_show(pci_bdf bdf, u8 offset, u32 value);
/* Whether the dword belongs to a capability that the guest does not see: it cannot write there. */
bool pci_capabilities_hide(pci_bdf bdf, u8 offset);

#endif
