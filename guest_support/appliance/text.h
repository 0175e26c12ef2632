/* Text from a format. */
#ifndef APPLIANCE_TEXT_H
#define APPLIANCE_TEXT_H

#include <stdarg.h>

#define TEXT_BYTES 160

struct text {
    char characters[TEXT_BYTES]; /* what does not fit is left out; ends in 0 */
};

/* The format has %s, %u (decimal), %x (8 hexadecimal digits) and %b (2 of them). */
struct text text_of(const char *format, va_list arguments);

#endif
