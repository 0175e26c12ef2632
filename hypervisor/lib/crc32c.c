#include "lib/crc32c.h"

u32 crc32c(u32 crc, const void *data, size_t size)
{
    const u8 *bytes = data;
    u64 state = (u32)~crc;

    for (; size >= 256; size -= 256, bytes += 256)
        __asm__(".set .Lat, 0\n\t.rept 32\n\tcrc32q .Lat(%1), %0\n\t"
                ".set .Lat, .Lat + 8\n\t.endr"
                : "+r"(state)
                : "r"(bytes), "m"(*(const u8(*)[256])bytes));
    for (; size >= 64; size -= 64, bytes += 64)
        __asm__("crc32q 0(%1), %0\n\tcrc32q 8(%1), %0\n\tcrc32q 16(%1), %0\n\tcrc32q 24(%1), %0\n\t"
                "crc32q 32(%1), %0\n\tcrc32q 40(%1), %0\n\tcrc32q 48(%1), %0\n\tcrc32q 56(%1), %0"
                : "+r"(state)
                : "r"(bytes), "m"(*(const u8(*)[64])bytes));
    for (; size >= 8; size -= 8, bytes += 8) {
        u64 word;

        __builtin_memcpy(&word, bytes, 8);
        __asm__("crc32q %1, %0" : "+r"(state) : "rm"(word));
    }
    for (; size; size--, bytes++)
        __asm__("crc32b %1, %k0" : "+r"(state) : "rm"(*bytes));
    return ~(u32)state;
}
