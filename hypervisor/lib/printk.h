/* Formatted output on the monitor's serial line. Conversions: %s %c %d %u %x %lx %lu %ld with
 * zero-padded widths. */
#ifndef LVMM_LIB_PRINTK_H
#define LVMM_LIB_PRINTK_H

#include <stdarg.h>

#include "lib/types.h"

__attribute__((format(printf, 1, 2))) void printk(const char *format, ...);
void vprintk(const char *format, va_list args);

#endif
