/* The checksum of RFC 1071, in the wire's byte order as the data is; and a digest. */
#ifndef APPLIANCE_CHECKSUM_H
#define APPLIANCE_CHECKSUM_H

#include "cpu.h"

/* Adds the data's 16-bit words to a sum; an odd last byte counts as one followed by 0. */
u32 sum(u32 start, const void *data, u32 bytes);

/* The ones' complement of the sum; 0 over data that contains its right checksum. */
u16 checksum(u32 start, const void *data, u32 bytes);

/* CRC-32 as Ethernet has it (IEEE 802.3, 3.2.9), of what came before (at first 0) and the data. */
u32 crc32(u32 before, const void *data, u32 bytes);

#endif
