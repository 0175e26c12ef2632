/* Strings of the command lines. */
#ifndef LVMM_LIB_TEXT_H
#define LVMM_LIB_TEXT_H

#include "lib/types.h"

bool text_equal(const char *a, const char *b);
/* Copies with the terminator; the length, or ERR_NO_SPACE when it does not fit. */
int text_copy(char *to, size_t size, const char *from);
/* Finds `key=value` among the words of `line`: copies the value and returns its length, or -1. */
int text_option(const char *line, const char *key, char *value, size_t size);
/* Decimal or 0x-hexadecimal; ERR_INVALID where it is no number. */
int text_number(const char *s, u64 *value);

#endif
