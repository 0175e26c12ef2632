/* Text for the user, formatted as lib/format.h says, on the monitor's serial line. */
#ifndef LVMM_LIB_PRINTK_H
#define LVMM_LIB_PRINTK_H

#include <stdarg.h>

#include "lib/types.h"

/* Takes whole lines, and parts of long ones. */
typedef void (*printk_sink)(const char *text, size_t size);

/* Sends text there from now on; NULL: to the serial line as it is. */
void printk_to(printk_sink to);
__attribute__((format(printf, 1, 2))) void printk(const char *format, ...);
void vprintk(const char *format, va_list args);

#endif
