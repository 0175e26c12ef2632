/* The writes by which a guest powers the machine off or resets it: the run ends there, before the
 * machine does. And those that mask address line A20, for the monitor too: it stays open. */
#ifndef LVMM_CORE_MACHINE_POWER_H
#define LVMM_CORE_MACHINE_POWER_H

#include "log_format.h"

/* Finds the power registers in the firmware's ACPI tables (FADT). */
void machine_power_init(void);
/* An enum log_end_reason, or 0 where the write does nothing of the kind. */
u8 machine_power_on_write(u16 port, u8 size, u64 value);
/* What of any other write to a port is to reach the machine. */
u64 machine_power_forward(u16 port, u8 size, u64 value);
/* What it remembers of the guest's writes. */
void machine_power_save(struct log_cpu_state *out);
void machine_power_restore(const struct log_cpu_state *from);
/* A warm reset of the machine. */
__attribute__((noreturn)) void machine_power_reset(void);

#endif
