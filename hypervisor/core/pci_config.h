/* The guest's accesses to PCI configuration space, by the ports and by memory: past the guard, and
 * while recording past the fence and without the capabilities that are hidden. Not in replay. */
#ifndef LVMM_CORE_PCI_CONFIG_H
#define LVMM_CORE_PCI_CONFIG_H

#include "lib/types.h"

/* The guest has written the address register. */
void pci_config_set_address(u32 address);
/* Gives the guest that register back, after accesses of the monitor's. */
void pci_config_restore_address(void);
/* Whether an access at a port is one to the data register. */
bool pci_config_is_data(u16 port, u8 size);
/* What the guest gets for `value`, read there. */
u64 pci_config_port_read(u16 port, u8 size, u64 value);
void pci_config_port_write(u16 port, u8 size, u64 value);

/* False: the address is not configuration space. */
bool pci_config_memory_read(u64 gpa, u8 size, u64 *value);
bool pci_config_memory_write(u64 gpa, u8 size, u64 value);

#endif
