#include "replay/log_remains.h"

#include "lib/crc32c.h"
#include "lib/string.h"

#define CHUNK_CRC_SIZE offsetof(struct log_chunk_header, crc32c)

/* Memory that holds nothing is mostly zeros, and there is much of it: of each part only the first
 * page is looked at, and of that every so many words. The first chunks are where a log has them in
 * any case; behind them chunks follow each other, and most are as long as a part or longer. */
#define PART_SIZE    ((u64)LOG_CHUNK_PAYLOAD_RING)
#define SAMPLE_WORDS (PAGE_SIZE / sizeof(u64) / 4)
#define FIRST_CHUNKS (PAGE_SIZE + LOG_CONSOLE_SIZE_DEFAULT + 2 * LOG_CHUNK_PAYLOAD_MAX)

bool log_chunk_intact(const u8 *data, u64 size, struct log_chunk_header *chunk)
{
    if (size < sizeof(*chunk))
        return false;
    memcpy(chunk, data, sizeof(*chunk));
    if (chunk->magic != LOG_CHUNK_MAGIC || chunk->payload_len > LOG_CHUNK_PAYLOAD_MAX ||
        chunk->payload_len > size - sizeof(*chunk))
        return false;
    return crc32c(crc32c(0, data, CHUNK_CRC_SIZE), data + sizeof(*chunk), chunk->payload_len) ==
           chunk->crc32c;
}

static bool looks_empty(const u8 *page)
{
    const u64 *words = (const void *)page;
    u64 any = 0;

    for (u32 i = 0; i < PAGE_SIZE / sizeof(u64); i += SAMPLE_WORDS)
        any |= words[i];
    return any == 0;
}

bool log_remains(const void *region, u64 size, struct log_chunk_header *chunk)
{
    const u8 *bytes = region;

    for (u64 part = 0; part + PAGE_SIZE <= size; part += PART_SIZE) {
        u64 end = size - part < PART_SIZE ? size : part + PART_SIZE;

        if (part >= FIRST_CHUNKS && looks_empty(bytes + part))
            continue;
        for (u64 at = part; at < end; at += LOG_CHUNK_ALIGN)
            if (*(const u32 *)(bytes + at) == LOG_CHUNK_MAGIC &&
                log_chunk_intact(bytes + at, size - at, chunk))
                return true;
    }
    return false;
}
