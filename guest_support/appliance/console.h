/* Text on COM1, 115,200 baud, 8N1. */
#ifndef APPLIANCE_CONSOLE_H
#define APPLIANCE_CONSOLE_H

#include <stdarg.h>

void console_start(void);

/* Prints a format with %s, %u (decimal), %x (8 hexadecimal digits) and %b (2 of them). */
void print(const char *format, ...);
void print_list(const char *format, va_list arguments);

#endif
