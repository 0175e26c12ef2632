/* Finds the intact chunks of a log, for the tools (tools/lvmm/logs/native.py). */
#ifndef LVMM_NATIVE_LOG_CHUNKS_H
#define LVMM_NATIVE_LOG_CHUNKS_H

#include "log_format.h"

struct log_chunks_run {
    struct log_chunk_header first;
    u32 count;  /* chunks */
    u32 last;   /* bytes of the last one, without its padding */
    u64 events; /* in all of them */
};

/* The intact chunks of one recording and format version whose numbers follow each other, and which
 * stand one behind the other in the `size` bytes at `data`, from its first byte on: at most `max`.
 * Their places go into `offsets`, counted from `base`. Returns run->count. */
u32 log_chunks_run(const u8 *data, u64 size, u64 base, u64 *offsets, u32 max,
                   struct log_chunks_run *run);

#endif
