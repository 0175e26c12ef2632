/* Ends the run of a guest that makes no progress.
 *
 * No progress: at every look, for the time that was chosen, the guest has interrupts disabled, and
 * from one look to the next it leaves to the monitor for nothing of its own: no I/O, no MMIO, no
 * MSR, no CPUID. The time is that of the guest: stops in the debugger do not count. */
#ifndef LVMM_CORE_WATCHDOG_H
#define LVMM_CORE_WATCHDOG_H

#include "core/vcpu.h"

/* `seconds` 0: never. ERR_UNSUPPORTED, told, where the machine does not say how fast its time-stamp
 * counter is. */
int watchdog_init(u64 seconds);
/* At every exit. */
void watchdog_exit(const struct exit *exit);
/* At a look, which comes `ticks` of the time-stamp counter after the last one or later. True: the
 * guest has hung. */
bool watchdog_look(const struct vcpu *vcpu, u64 ticks);

#endif
