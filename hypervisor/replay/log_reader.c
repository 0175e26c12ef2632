#include "replay/log_reader.h"

#include "lib/crc32c.h"
#include "lib/string.h"

#define CHUNK_CRC_SIZE offsetof(struct log_chunk_header, crc32c)

/* Enters the next chunk, whose kind must be `kind`: checks its header, place and CRC. */
static int enter_chunk(struct log_reader *reader, u16 kind, struct log_chunk_header *chunk)
{
    u64 left = reader->size - reader->next_chunk;
    const u8 *at = reader->base + reader->next_chunk;

    if (left < sizeof(*chunk))
        return ERR_TRUNCATED;
    memcpy(chunk, at, sizeof(*chunk));
    if (chunk->magic != LOG_CHUNK_MAGIC)
        return ERR_INVALID;
    if (chunk->format_version != LOG_FORMAT_VERSION)
        return ERR_VERSION;
    if (chunk->payload_len > LOG_CHUNK_PAYLOAD_MAX)
        return ERR_INVALID;
    left -= sizeof(*chunk);
    if (left < chunk->payload_len)
        return ERR_TRUNCATED;
    at += sizeof(*chunk);
    if (crc32c(crc32c(0, chunk, CHUNK_CRC_SIZE), at, chunk->payload_len) != chunk->crc32c)
        return ERR_CHECKSUM;
    if (chunk->kind != kind || chunk->seq != reader->next_seq)
        return ERR_INVALID;

    u64 padded = ALIGN_UP(sizeof(*chunk) + chunk->payload_len, LOG_CHUNK_ALIGN);

    reader->next_chunk =
        padded < reader->size - reader->next_chunk ? reader->next_chunk + padded : reader->size;
    reader->next_seq++;
    reader->input = (struct log_cursor){at, at + chunk->payload_len};
    return 0;
}

/* A table of `size`-byte entries; its values lie aligned in an aligned log. */
static int get_table(const u8 *value, u32 length, size_t size, const void **table, u32 *count)
{
    if (length % size)
        return ERR_INVALID;
    *table = value;
    *count = (u32)(length / size);
    return 0;
}

static int get_item(struct log_recording_header *header, u32 tag, const u8 *value, u32 length)
{
    struct log_text text = {(const char *)value, length};
    const void *table = NULL;
    int error;

    switch (tag) {
    case LOG_HEADER_ITEM_MACHINE:
        if (length != sizeof(header->machine))
            return ERR_INVALID;
        memcpy(&header->machine, value, sizeof(header->machine));
        return 0;
    case LOG_HEADER_ITEM_MONITOR_VERSION:
        header->monitor_version = text;
        return 0;
    case LOG_HEADER_ITEM_BOARD:
        header->board = text;
        return 0;
    case LOG_HEADER_ITEM_CPU_BRAND:
        header->cpu_brand = text;
        return 0;
    case LOG_HEADER_ITEM_COMMAND_LINE:
        header->command_line = text;
        return 0;
    case LOG_HEADER_ITEM_IMAGES:
        error = get_table(value, length, sizeof(*header->images), &table, &header->images_count);
        header->images = table;
        return error;
    case LOG_HEADER_ITEM_CPUID:
        error = get_table(value, length, sizeof(*header->cpuid), &table, &header->cpuid_count);
        header->cpuid = table;
        return error;
    case LOG_HEADER_ITEM_E820:
        error = get_table(value, length, sizeof(*header->e820), &table, &header->e820_count);
        header->e820 = table;
        return error;
    case LOG_HEADER_ITEM_DMA_STREAMS:
        error = get_table(value, length, sizeof(*header->dma_streams), &table,
                          &header->dma_streams_count);
        header->dma_streams = table;
        return error;
    default:
        return 0; /* an item that a later monitor of this format version added */
    }
}

static int get_header(struct log_cursor *in, struct log_recording_header *header)
{
    bool machine_found = false;

    while (in->next != in->end) {
        struct log_item_header item;
        u64 left = (u64)(in->end - in->next);

        if (left < sizeof(item))
            return ERR_TRUNCATED;
        memcpy(&item, in->next, sizeof(item));
        left -= sizeof(item);
        in->next += sizeof(item);

        u64 padded = ALIGN_UP((u64)item.length, LOG_CHUNK_ALIGN);

        if (left < padded)
            return ERR_TRUNCATED;

        int error = get_item(header, item.tag, in->next, item.length);

        if (error)
            return error;
        machine_found |= item.tag == LOG_HEADER_ITEM_MACHINE;
        in->next += padded;
    }
    return machine_found ? 0 : ERR_INVALID;
}

int log_reader_open(struct log_reader *reader, const void *base, u64 size)
{
    struct log_chunk_header chunk = {0};
    int error;

    memset(reader, 0, sizeof(*reader));
    reader->base = base;
    reader->size = size;
    if ((uintptr_t)base % LOG_CHUNK_ALIGN)
        error = ERR_INVALID;
    else
        error = enter_chunk(reader, LOG_CHUNK_KIND_HEADER, &chunk);
    if (!error)
        error = get_header(&reader->input, &reader->header);
    if (!error)
        reader->recording_id = chunk.recording_id;
    reader->error = error;
    return error;
}

static int enter_events(struct log_reader *reader)
{
    struct log_mark mark = {reader->next_chunk, reader->next_event, reader->next_seq};
    struct log_chunk_header chunk;
    int error = enter_chunk(reader, LOG_CHUNK_KIND_EVENTS, &chunk);

    if (error)
        return error;
    /* The first event's position is the chunk's, so it cannot lie before the last one's. */
    if (chunk.recording_id != reader->recording_id || !chunk.event_count ||
        chunk.first_event != reader->next_event || chunk.first_branches < reader->branches)
        return ERR_INVALID;
    reader->chunk = mark;
    reader->events_left = chunk.event_count;
    log_codec_start(&reader->codec, chunk.first_branches, chunk.first_rip);
    return 0;
}

static int read_event(struct log_reader *reader, struct log_event *event)
{
    int error = 0;

    if (!reader->events_left) {
        if (reader->next_chunk == reader->size)
            return ERR_END;
        error = enter_events(reader);
    }
    if (!error)
        error = log_decode_event(&reader->codec, &reader->input, event);
    if (error)
        return error;
    reader->events_left--;
    if (!reader->events_left && reader->input.next != reader->input.end)
        return ERR_INVALID;
    event->index = reader->next_event++;
    reader->branches = event->branches;
    reader->rip = event->regs.rip;
    return 1;
}

int log_read(struct log_reader *reader, struct log_event *event)
{
    int result;

    if (reader->error)
        return reader->error;
    result = read_event(reader, event);
    if (result < 0)
        reader->error = result;
    return result;
}

int log_reader_return(struct log_reader *reader, const struct log_mark *mark, u64 event)
{
    struct log_event skipped;
    int result = 1;

    reader->next_chunk = mark->chunk;
    reader->next_seq = mark->seq;
    reader->next_event = mark->first_event;
    reader->branches = 0; /* what comes is not behind what was read last */
    reader->events_left = 0;
    reader->error = 0;
    while (reader->next_event < event && result > 0)
        result = log_read(reader, &skipped);
    return result < 0 ? result : 0;
}
