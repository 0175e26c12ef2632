#include "checksum.h"

#define CRC32_POLYNOMIAL 0xedb88320u /* with its lowest power first */

u32 sum(u32 start, const void *data, u32 bytes)
{
    const u8 *at = data;
    for (; bytes > 1; bytes -= 2, at += 2)
        start += (u32)at[0] | (u32)at[1] << 8;
    return bytes ? start + at[0] : start;
}

u16 checksum(u32 start, const void *data, u32 bytes)
{
    u32 total = sum(start, data, bytes);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (u16)~total;
}

u32 crc32(u32 before, const void *data, u32 bytes)
{
    const u8 *at = data;
    u32 crc = ~before;
    for (; bytes > 0; bytes--) {
        crc ^= *at++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? CRC32_POLYNOMIAL : 0);
    }
    return ~crc;
}
