/* While recording, a device whose DMA cannot be recorded does not become bus master, unless the
 * user has excepted it: then the recording is unsound. What happens is told on the monitor's line,
 * once for each device. */
#ifndef LVMM_CORE_FENCE_H
#define LVMM_CORE_FENCE_H

#include "core/pci.h"
#include "core/vcpu.h"

#define FENCE_EXCEPTIONS_MAX 8

/* `exceptions`: "all", or addresses as in "00:04.0,01:00.1"; NULL: none. ERR_INVALID, told. */
int fence_init(const char *exceptions);

/* Whether there are exceptions. */
bool fence_is_open(void);

/* Takes bus mastering from a device that has it, from the firmware say: that is not told, since
 * nobody may want the device, or its driver may give hints. Leaves the machine's address register
 * anywhere. */
void fence_close(pci_bdf bdf);

/* The value that a write to the command register of such a device is to have. The same. */
u32 fence_command(pci_bdf bdf, u32 value);

/* Logs what was told since the last call. */
void fence_log(struct vcpu *vcpu);

#endif
