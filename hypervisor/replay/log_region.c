#include "replay/log_region.h"

#include "lib/crc32c.h"
#include "lib/string.h"
#include "replay/log_remains.h"

#define STATIC_SIZE offsetof(struct log_region_header, crc32c)

/* Magic, version and static_size: the same in every format version. */
#define PROLOGUE_SIZE offsetof(struct log_region_header, recording_id)

int log_region_format(void *region, u64 size, const struct log_region_params *params)
{
    struct log_region_header *header = region;
    u64 console_size = params->console_size ? params->console_size : LOG_CONSOLE_SIZE_DEFAULT;

    if (((uintptr_t)region & PAGE_MASK) || console_size < PAGE_SIZE ||
        (console_size & (console_size - 1)))
        return ERR_INVALID;
    if (size < PAGE_SIZE || size - PAGE_SIZE < console_size ||
        size - PAGE_SIZE - console_size < LOG_CHUNK_PAYLOAD_MAX)
        return ERR_NO_SPACE;

    memset(header, 0, PAGE_SIZE);
    header->format_version = LOG_FORMAT_VERSION;
    header->static_size = STATIC_SIZE;
    header->recording_id = params->recording_id;
    header->region_size = size;
    header->console_offset = PAGE_SIZE;
    header->console_size = console_size;
    header->chunks_offset = PAGE_SIZE + console_size;
    header->chunks_size = size - header->chunks_offset;
    header->mode = params->mode;
    header->flags = params->overwrites ? LOG_REGION_FLAG_OVERWRITES : 0;
    header->state = LOG_REGION_STATE_EMPTY;
    header->address = (u64)region;
    header->magic = LOG_REGION_MAGIC;
    header->crc32c = crc32c(0, header, STATIC_SIZE);
    return 0;
}

bool log_region_overwrites(const void *region)
{
    return ((const struct log_region_header *)region)->flags & LOG_REGION_FLAG_OVERWRITES;
}

u64 log_region_used(const void *region)
{
    const struct log_region_header *header = region;

    return header->lap_end > header->chunk_bytes ? header->lap_end : header->chunk_bytes;
}

static bool header_intact(const struct log_region_header *header)
{
    u32 crc;

    if (header->magic != LOG_REGION_MAGIC || header->static_size < PROLOGUE_SIZE ||
        header->static_size > PAGE_SIZE - sizeof(crc))
        return false;
    memcpy(&crc, (const u8 *)header + header->static_size, sizeof(crc));
    return crc32c(0, header, header->static_size) == crc;
}

bool log_region_holds_log(const void *page, struct log_region_found *found)
{
    const struct log_region_header *header = page;

    memset(found, 0, sizeof(*found));
    if (!header_intact(header))
        return false;
    found->format_version = header->format_version;
    if (header->format_version != LOG_FORMAT_VERSION)
        return true;
    found->recording_id = header->recording_id;
    found->events = header->event_count + (header->open_chunk >> 32);
    found->bytes = log_region_used(header) + (u32)header->open_chunk;
    found->taken = header->state == LOG_REGION_STATE_TAKEN;
    return header->mode == LOG_MODE_RECORD && found->bytes != 0;
}

bool log_region_holds_any(const void *region, u64 size, struct log_region_found *found)
{
    struct log_chunk_header chunk;

    if (log_region_holds_log(region, found))
        return true;
    if (header_intact(region) || !log_remains(region, size, &chunk))
        return false;
    found->format_version = chunk.format_version;
    found->recording_id = chunk.recording_id;
    found->damaged = true;
    return true;
}

void log_region_set_state(void *region, u32 state)
{
    struct log_region_header *header = region;

    header->state = state;
}

void log_console_put(void *region, u8 byte)
{
    struct log_region_header *header = region;
    u8 *ring = (u8 *)region + header->console_offset;

    ring[header->console_head & (header->console_size - 1)] = byte;
    header->console_head++;
}

u8 *log_console_ring(const void *region, u64 *size)
{
    const struct log_region_header *header = region;

    *size = header->console_size;
    return (u8 *)region + header->console_offset;
}

void log_console_return(void *region, u64 bytes)
{
    struct log_region_header *header = region;

    header->console_head = bytes;
}

u64 log_console_bytes(const void *region)
{
    return ((const struct log_region_header *)region)->console_head;
}

u32 log_console_read(const void *region, u64 *offset, void *to, u32 size, u64 *end)
{
    const struct log_region_header *header = region;
    const u8 *ring = (const u8 *)region + header->console_offset;
    u64 oldest = 0;
    u32 done = 0;

    *end = header->console_head;
    if (*end > header->console_size)
        oldest = *end - header->console_size;
    if (*offset < oldest)
        *offset = oldest;
    for (; done < size && *offset + done < *end; done++)
        ((u8 *)to)[done] = ring[(*offset + done) & (header->console_size - 1)];
    return done;
}

u32 log_region_read(const void *region, u64 offset, void *to, u32 size)
{
    const struct log_region_header *header = region;
    u64 left = offset < header->region_size ? header->region_size - offset : 0;

    if (size > left)
        size = (u32)left;
    memcpy(to, (const u8 *)region + offset, size);
    return size;
}
