/* The monitor's own 16550 serial line, polled (board: serial.monitor). */
#ifndef LVMM_ARCH_SERIAL_H
#define LVMM_ARCH_SERIAL_H

#include "lib/types.h"

void serial_init(void);
/* Text: a line feed gets its carriage return. */
void serial_put(char c);
void serial_put_raw(u8 byte);
/* A received byte, or -1. */
int serial_get(void);

#endif
