/* The monitor's own 16550 serial line, polled (board: serial.monitor). */
#ifndef LVMM_ARCH_SERIAL_H
#define LVMM_ARCH_SERIAL_H

#include "lib/types.h"

void serial_init(void);
void serial_put(char c);
/* A received byte, or -1. */
int serial_get(void);

#endif
