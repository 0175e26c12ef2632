/* The functions of C's library that the compiler may call by itself. */
#ifndef APPLIANCE_MEMORY_H
#define APPLIANCE_MEMORY_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *one, const void *other, size_t count);

#endif
