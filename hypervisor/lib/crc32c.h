/* CRC-32C (Castagnoli), by the SSE4.2 instruction. */
#ifndef LVMM_LIB_CRC32C_H
#define LVMM_LIB_CRC32C_H

#include "lib/types.h"

/* The CRC of `size` bytes appended to data whose CRC is `crc` (0: no data yet). */
u32 crc32c(u32 crc, const void *data, size_t size);

#endif
