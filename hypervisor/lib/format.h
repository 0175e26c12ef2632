/* Formatted text. Conversions: %s %c %d %u %x, the numbers also with `l`, with zero-padded widths.
 */
#ifndef LVMM_LIB_FORMAT_H
#define LVMM_LIB_FORMAT_H

#include <stdarg.h>

#include "lib/types.h"

typedef void (*format_put)(void *context, char c);

void format_text(format_put put, void *context, const char *format, va_list args);

#endif
