/* The tap on the guest's console UART (board: serial.guest_console): what the guest writes there
 * goes to the console ring in every mode, so that record and replay can be compared. */
#ifndef LVMM_CORE_CONSOLE_H
#define LVMM_CORE_CONSOLE_H

#include "core/vcpu.h"

void console_on_write(struct vcpu *vcpu, u16 port, u64 value);
/* What it remembers of them. */
void console_save(struct log_cpu_state *out);
void console_restore(const struct log_cpu_state *from);

#endif
