#include "lib/crc32c.h"

u32 crc32c(u32 crc, const void *data, size_t size)
{
    const u8 *bytes = data;
    u64 state = (u32)~crc;

    for (; size >= 8; size -= 8, bytes += 8) {
        u64 word;

        __builtin_memcpy(&word, bytes, 8);
        __asm__("crc32q %1, %0" : "+r"(state) : "rm"(word));
    }
    for (; size; size--, bytes++)
        __asm__("crc32b %1, %k0" : "+r"(state) : "rm"(*bytes));
    return ~(u32)state;
}
