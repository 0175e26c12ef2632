/* What a recording needs and whether this machine has it, told on the monitor's line without a
 * guest
 * (./lvmm doctor --board). */
#ifndef LVMM_BOOT_PROBE_H
#define LVMM_BOOT_PROBE_H

#include "boot/multiboot2.h"

/* Of each subject the messages come first, then its verdict. Nothing is written outside of the
 * monitor's memory. `shadow_size`: bytes for what devices write. */
void probe_machine(const struct boot_info *boot, u64 guest_memory, u64 shadow_size);

/* Finds the configuration space in memory. ERR_INVALID, told: the firmware's table makes no sense.
 */
int probe_configuration_space(const struct boot_info *boot);

#endif
