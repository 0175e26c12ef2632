/* The memory and string functions of the freestanding monitor; the compiler calls some of them by
 * itself. Host builds take libc's. */
#ifndef LVMM_LIB_STRING_H
#define LVMM_LIB_STRING_H

#include "lib/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *left, const void *right, size_t size);
size_t strlen(const char *text);
int strncmp(const char *left, const char *right, size_t size);

#endif
