/* The tap on the guest's console UART (board: serial.guest_console): what the guest writes there
 * goes to the console ring in every mode, so that record and replay can be compared. */
#ifndef LVMM_CORE_CONSOLE_H
#define LVMM_CORE_CONSOLE_H

#include "lib/types.h"

void console_on_write(u16 port, u64 value);

#endif
