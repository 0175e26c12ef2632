#include "log_chunks.h"

#include <string.h>

#include "replay/log_remains.h"

static bool follows(const struct log_chunk_header *chunk, const struct log_chunks_run *run)
{
    return chunk->recording_id == run->first.recording_id &&
           chunk->format_version == run->first.format_version &&
           chunk->seq == (u64)run->first.seq + run->count;
}

u32 log_chunks_run(const u8 *data, u64 size, u64 base, u64 *offsets, u32 max,
                   struct log_chunks_run *run)
{
    struct log_chunk_header chunk;

    memset(run, 0, sizeof(*run));
    for (u64 at = 0;
         run->count < max && at < size && log_chunk_intact(data + at, size - at, &chunk);) {
        if (!run->count)
            run->first = chunk;
        else if (!follows(&chunk, run))
            break;
        offsets[run->count++] = base + at;
        run->last = (u32)sizeof(chunk) + chunk.payload_len;
        run->events += chunk.event_count;
        at += ALIGN_UP(run->last, LOG_CHUNK_ALIGN);
    }
    return run->count;
}
