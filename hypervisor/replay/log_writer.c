#include "replay/log_writer.h"

#include "lib/crc32c.h"
#include "lib/string.h"

#define CHUNK_CRC_SIZE offsetof(struct log_chunk_header, crc32c)

/* Kept back so that the END event always fits: it may need a chunk of its own. */
#define END_RESERVE                                                                                \
    (2 * (sizeof(struct log_chunk_header) + LOG_CHUNK_ALIGN) + LOG_EVENT_OVERHEAD_MAX +            \
     sizeof(struct log_final_state))

/* What a tool finds after a reset is in the order in which it was stored: x86 keeps stores in
 * order, this keeps the compiler from reordering them. */
static inline void store_barrier(void)
{
    __asm__ volatile("" : : : "memory");
}

static u8 *chunk_area(const struct log_writer *writer)
{
    return (u8 *)writer->region + writer->region->chunks_offset;
}

/* Bytes of the chunk area that neither a completed nor the open chunk uses. */
static u64 room_left(const struct log_writer *writer)
{
    u64 used = writer->region->chunk_bytes;

    if (writer->chunk)
        used += ALIGN_UP(sizeof(*writer->chunk) + writer->used, LOG_CHUNK_ALIGN);
    return used < writer->region->chunks_size ? writer->region->chunks_size - used : 0;
}

/* Clears the magic of a chunk that an earlier recording may have left at this offset, so that no
 * tool takes it for the next one. From the second lap of a ring on it can only be the oldest chunk
 * of this recording, which stays until it is overwritten. */
static void forget_chunk_at(const struct log_writer *writer, u64 offset)
{
    if (writer->region->lap_end)
        return;
    if (offset + sizeof(struct log_chunk_header) <= writer->region->chunks_size)
        ((struct log_chunk_header *)(chunk_area(writer) + offset))->magic = 0;
}

int log_writer_open(struct log_writer *writer, void *region)
{
    struct log_region_header *header = region;

    if (header->magic != LOG_REGION_MAGIC || header->format_version != LOG_FORMAT_VERSION ||
        header->state != LOG_REGION_STATE_EMPTY)
        return ERR_INVALID;
    memset(writer, 0, sizeof(*writer));
    writer->region = header;
    forget_chunk_at(writer, 0);
    header->state = LOG_REGION_STATE_RECORDING;
    return 0;
}

/* How many payload bytes the open chunk may have before it is closed, the END event's room apart.
 */
static u32 payload_limit(const struct log_writer *writer)
{
    bool ring = log_region_overwrites(writer->region);
    u64 kept = sizeof(*writer->chunk) + LOG_CHUNK_ALIGN + (ring ? 0 : END_RESERVE);
    u64 room = writer->region->chunks_size - writer->region->chunk_bytes;
    u32 target = ring ? LOG_CHUNK_PAYLOAD_RING : LOG_CHUNK_PAYLOAD_TARGET;

    if (room < kept)
        return 0;
    return room - kept < target ? (u32)(room - kept) : target;
}

/* Opens a chunk. The caller has checked that there is room for its header. */
static void chunk_open(struct log_writer *writer, u16 kind, u64 branches, u64 rip)
{
    struct log_region_header *region = writer->region;
    struct log_chunk_header *chunk = (void *)(chunk_area(writer) + region->chunk_bytes);

    *chunk = (struct log_chunk_header){
        .magic = LOG_CHUNK_MAGIC_OPEN,
        .format_version = LOG_FORMAT_VERSION,
        .kind = kind,
        .recording_id = region->recording_id,
        .first_event = writer->next_event,
        .first_branches = branches,
        .first_rip = rip,
        .seq = region->next_seq,
    };
    writer->chunk = chunk;
    writer->payload = (u8 *)(chunk + 1);
    writer->used = 0;
    writer->limit = payload_limit(writer);
    writer->chunk_events = 0;
    log_codec_start(&writer->codec, branches, rip);
}

/* Tells tools how much of the open chunk is whole, in one store. */
static void publish_open_chunk(struct log_writer *writer)
{
    store_barrier();
    writer->region->open_chunk = (u64)writer->chunk_events << 32 | writer->used;
}

static void chunk_close(struct log_writer *writer)
{
    struct log_region_header *region = writer->region;
    struct log_chunk_header *chunk = writer->chunk;
    u64 size = sizeof(*chunk) + writer->used;
    u64 padded = ALIGN_UP(size, LOG_CHUNK_ALIGN);
    struct log_chunk_header closed = *chunk;

    closed.magic = LOG_CHUNK_MAGIC;
    closed.payload_len = writer->used;
    closed.event_count = writer->chunk_events;
    closed.crc32c = crc32c(crc32c(0, &closed, CHUNK_CRC_SIZE), writer->payload, writer->used);
    memset((u8 *)chunk + size, 0, padded - size);
    forget_chunk_at(writer, region->chunk_bytes + padded);
    *chunk = closed;
    store_barrier();
    /* Were the machine reset between these stores, the chunk would still be found by its magic. */
    region->open_chunk = 0;
    region->next_seq++;
    region->event_count += writer->chunk_events;
    region->chunk_bytes += padded;
    writer->chunk = NULL;
}

/* Appends an item to the open chunk; false when it is too large. */
static bool put_item(struct log_writer *writer, u32 tag, const void *value, u64 length)
{
    struct log_item_header item = {.tag = tag, .length = (u32)length};
    u64 padded = ALIGN_UP(length, LOG_CHUNK_ALIGN);
    u8 *out = writer->payload + writer->used;

    if (length > LOG_CHUNK_PAYLOAD_MAX ||
        writer->used + sizeof(item) + padded > LOG_CHUNK_PAYLOAD_MAX ||
        sizeof(item) + padded > room_left(writer))
        return false;
    memcpy(out, &item, sizeof(item));
    if (length)
        memcpy(out + sizeof(item), value, length);
    memset(out + sizeof(item) + length, 0, padded - length);
    writer->used += (u32)(sizeof(item) + padded);
    return true;
}

static bool put_text(struct log_writer *writer, u32 tag, const struct log_text *text)
{
    return put_item(writer, tag, text->text, text->length);
}

int log_write_header(struct log_writer *writer, const struct log_recording_header *header)
{
    if (writer->region->next_seq || writer->chunk ||
        room_left(writer) < sizeof(struct log_chunk_header))
        return ERR_INVALID;
    chunk_open(writer, LOG_CHUNK_KIND_HEADER, 0, 0);

    bool fits =
        put_item(writer, LOG_HEADER_ITEM_MACHINE, &header->machine, sizeof(header->machine)) &&
        put_text(writer, LOG_HEADER_ITEM_MONITOR_VERSION, &header->monitor_version) &&
        put_text(writer, LOG_HEADER_ITEM_BOARD, &header->board) &&
        put_text(writer, LOG_HEADER_ITEM_CPU_BRAND, &header->cpu_brand) &&
        put_text(writer, LOG_HEADER_ITEM_COMMAND_LINE, &header->command_line) &&
        put_item(writer, LOG_HEADER_ITEM_IMAGES, header->images,
                 (u64)header->images_count * sizeof(*header->images)) &&
        put_item(writer, LOG_HEADER_ITEM_CPUID, header->cpuid,
                 (u64)header->cpuid_count * sizeof(*header->cpuid)) &&
        put_item(writer, LOG_HEADER_ITEM_E820, header->e820,
                 (u64)header->e820_count * sizeof(*header->e820)) &&
        put_item(writer, LOG_HEADER_ITEM_DMA_STREAMS, header->dma_streams,
                 (u64)header->dma_streams_count * sizeof(*header->dma_streams));

    if (!fits) {
        writer->chunk = NULL;
        return ERR_INVALID;
    }
    chunk_close(writer);
    writer->ring_start = writer->region->chunk_bytes;
    return 0;
}

/* A ring: goes on behind the recording header. No chunk is open. */
static void next_lap(struct log_writer *writer)
{
    struct log_region_header *region = writer->region;
    u64 end = region->chunk_bytes;

    region->lap_end = end;
    store_barrier();
    region->chunk_bytes = writer->ring_start;
    store_barrier();
    region->taken += end - writer->ring_start;
}

/* Whether `needed` more bytes of an event fit, with a header where they begin a chunk. */
static bool fits(const struct log_writer *writer, u64 needed)
{
    return room_left(writer) >= needed + (writer->chunk ? 0 : sizeof(*writer->chunk));
}

/* Makes room for an event by overwriting the oldest chunks, where this is a ring. */
static bool make_room(struct log_writer *writer, u64 needed)
{
    if (fits(writer, needed))
        return true;
    if (!log_region_overwrites(writer->region) ||
        needed + sizeof(*writer->chunk) > writer->region->chunks_size - writer->ring_start)
        return false;
    log_flush(writer);
    next_lap(writer);
    return true;
}

int log_write(struct log_writer *writer, const struct log_event *event)
{
    u64 branches = event->same_position ? writer->branches : event->branches;
    u64 rip = event->same_position ? writer->rip : event->regs.rip;
    u64 needed = (u64)LOG_EVENT_OVERHEAD_MAX + event->data_len;
    bool ring = log_region_overwrites(writer->region);
    bool reserve = event->kind != LOG_EVENT_END && !ring;
    u32 target = ring ? LOG_CHUNK_PAYLOAD_RING : LOG_CHUNK_PAYLOAD_TARGET;
    u32 size = 0;
    int error;

    if (!writer->region->next_seq || event->data_len > LOG_EVENT_DATA_MAX ||
        branches < writer->branches)
        return ERR_INVALID;
    if (writer->chunk && writer->used + needed > target)
        log_flush(writer);
    if (!make_room(writer, needed + (reserve ? END_RESERVE : 0)))
        return ERR_NO_SPACE;
    if (!writer->chunk)
        chunk_open(writer, LOG_CHUNK_KIND_EVENTS, branches, rip);

    error = log_encode_event(&writer->codec, event, writer->payload + writer->used, &size);
    if (error) {
        /* An empty chunk would keep this event's position. */
        if (!writer->chunk_events)
            writer->chunk = NULL;
        return error;
    }
    writer->used += size;
    writer->chunk_events++;
    writer->next_event++;
    writer->branches = branches;
    writer->rip = rip;
    publish_open_chunk(writer);
    return 0;
}

bool log_write_next_transfer(struct log_writer *writer, const struct log_dma *transfer,
                             const void *data, u32 length)
{
    u8 *end = writer->payload + writer->used;

    if (!writer->chunk || !writer->codec.transfers.head || length > LOG_EVENT_DATA_MAX ||
        writer->used + length + LOG_EVENT_OVERHEAD_MAX > writer->limit)
        return false;
    end = log_put_next_transfer(&writer->codec, end, transfer->stream, transfer->gpa, data, length);
    writer->used = (u32)(end - writer->payload);
    writer->chunk_events++;
    writer->next_event++;
    publish_open_chunk(writer);
    return true;
}

int log_flush(struct log_writer *writer)
{
    if (writer->chunk)
        chunk_close(writer);
    return 0;
}

int log_writer_seal(struct log_writer *writer, u32 state)
{
    log_flush(writer);
    log_region_set_state(writer->region, state);
    return 0;
}

u64 log_writer_completed(const struct log_writer *writer)
{
    return writer->region->taken + writer->region->chunk_bytes;
}

void log_writer_taken(struct log_writer *writer, u64 bytes)
{
    if (bytes > writer->stored && bytes <= log_writer_completed(writer))
        writer->stored = bytes;
    if (writer->region->state == LOG_REGION_STATE_SEALED &&
        writer->stored == log_writer_completed(writer))
        log_region_set_state(writer->region, LOG_REGION_STATE_TAKEN);
}

bool log_writer_rewind(struct log_writer *writer)
{
    struct log_region_header *region = writer->region;
    struct log_chunk_header *first = (void *)chunk_area(writer);
    u64 bytes = region->chunk_bytes;

    if (bytes == 0 || log_region_overwrites(region) ||
        writer->stored < log_writer_completed(writer))
        return false;
    if (writer->chunk != NULL) {
        memmove(first, writer->chunk, sizeof(*first) + writer->used);
        writer->codec.transfers.head = NULL; /* it was where the chunk was */
        writer->chunk = first;
        writer->payload = (u8 *)(first + 1);
    } else {
        forget_chunk_at(writer, 0);
    }
    /* A tool that finds the machine reset between these stores misses nothing that it has not. */
    store_barrier();
    region->chunk_bytes = 0;
    store_barrier();
    region->taken += bytes;
    return true;
}

u64 log_writer_room(const struct log_writer *writer)
{
    u64 room = room_left(writer);

    return room > END_RESERVE ? room - END_RESERVE : 0;
}

u64 log_writer_bytes(const struct log_writer *writer)
{
    u64 bytes = log_writer_completed(writer);

    return writer->chunk ? bytes + sizeof(*writer->chunk) + writer->used : bytes;
}
