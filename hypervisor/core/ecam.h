/* PCI configuration space in memory (PCI Express 5.0, section 7.2.2): where the firmware says that
 * it is (PCI Firmware Specification 3.3, section 4.1.2, the table MCFG). */
#ifndef LVMM_CORE_ECAM_H
#define LVMM_CORE_ECAM_H

#include "core/acpi.h"
#include "core/pci.h"

#define ECAM_WINDOWS_MAX 8

struct ecam_window {
    u64 base, size; /* of the buses that the window is for */
    u16 segment;
    u8 first_bus;
};

/* Reads the table; without one there are no windows. ERR_INVALID: more windows than there is room
 * for, or one that makes no sense, so that some may be missing. */
int ecam_init(const u8 *rsdp, u32 rsdp_size, acpi_memory memory);

/* The window that has this address; NULL: none has. */
const struct ecam_window *ecam_window_at(u64 gpa);
/* Window `i` from 0; NULL after the last. */
const struct ecam_window *ecam_window(unsigned int i);

/* Which function's register it is. */
pci_bdf ecam_function(const struct ecam_window *window, u64 gpa, u32 *offset);

#endif
