/* What is left of a log in memory. */
#ifndef LVMM_REPLAY_LOG_REMAINS_H
#define LVMM_REPLAY_LOG_REMAINS_H

#include "log_format.h"

/* Whether the first of the `size` bytes at `data` begin a whole chunk with the right CRC, of any
 * format version; its header is then in *chunk. */
bool log_chunk_intact(const u8 *data, u64 size, struct log_chunk_header *chunk);

/* Looks for an intact chunk in the `size` bytes at `region`, whose header page is damaged. */
bool log_remains(const void *region, u64 size, struct log_chunk_header *chunk);

#endif
