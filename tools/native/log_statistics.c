#include "log_statistics.h"

#include <stdlib.h>
#include <string.h>

#include "replay/log_codec.h"

#define FIRST_CAPACITY 1024 /* a power of two, as every capacity */

/* Open addressing; at most half full. */
struct table {
    struct log_statistics_entry *entries;
    u64 capacity;
    u64 used;
};

struct log_statistics {
    struct log_statistics_totals totals;
    u64 table_max;
    struct table tables[LOG_STATISTICS_TABLES];
    struct log_codec codec;
};

struct log_statistics *log_statistics_new(u64 table_max)
{
    struct log_statistics *statistics = calloc(1, sizeof(*statistics));

    if (statistics)
        statistics->table_max = table_max;
    return statistics;
}

void log_statistics_free(struct log_statistics *statistics)
{
    if (!statistics)
        return;
    for (unsigned i = 0; i < LOG_STATISTICS_TABLES; i++)
        free(statistics->tables[i].entries);
    free(statistics);
}

/* The place of an address: its entry, or a free one. */
static struct log_statistics_entry *place(const struct table *table, u64 address)
{
    u64 at = address * 0x9e3779b97f4a7c15ULL >> 32;

    for (;; at++) {
        struct log_statistics_entry *entry = &table->entries[at & (table->capacity - 1)];

        if (!entry->events || entry->address == address)
            return entry;
    }
}

static int grow(struct table *table)
{
    struct table larger = {.capacity = table->capacity ? 2 * table->capacity : FIRST_CAPACITY,
                           .used = table->used};

    larger.entries = calloc(larger.capacity, sizeof(*larger.entries));
    if (!larger.entries)
        return ERR_NO_SPACE;
    for (u64 i = 0; i < table->capacity; i++)
        if (table->entries[i].events)
            *place(&larger, table->entries[i].address) = table->entries[i];
    free(table->entries);
    *table = larger;
    return 0;
}

static int count_in(struct log_statistics *statistics, u32 number, u64 address, u64 bytes)
{
    struct table *table = &statistics->tables[number];
    struct log_statistics_entry *entry;

    if (2 * table->used >= table->capacity) {
        int error = grow(table);

        if (error)
            return error;
    }
    entry = place(table, address);
    if (!entry->events) {
        if (table->used >= statistics->table_max) {
            statistics->totals.uncounted[number]++;
            return 0;
        }
        table->used++;
        entry->address = address;
    }
    entry->events++;
    entry->bytes += bytes;
    return 0;
}

static void count_transfer(struct log_statistics_totals *totals, u8 stream, u64 bytes, u64 data)
{
    totals->stream_events[stream]++;
    totals->stream_bytes[stream] += bytes;
    totals->stream_data[stream] += data;
}

/* An instruction of the guest made this an event, and no device or note of the monitor's. */
static bool is_exit(const struct log_event *event)
{
    return event->kind != LOG_EVENT_DMA && !event->async && !event->same_position &&
           !log_event_is_note(event->kind);
}

static int count_tables(struct log_statistics *statistics, const struct log_event *event, u64 bytes)
{
    const union log_payload *payload = &event->payload;
    int error = 0;

    if (event->kind == LOG_EVENT_IN)
        error = count_in(statistics, LOG_STATISTICS_PORTS, payload->in.port, bytes);
    else if (event->kind == LOG_EVENT_IN_STRING)
        error = count_in(statistics, LOG_STATISTICS_PORTS, payload->in_string.port, bytes);
    else if (event->kind == LOG_EVENT_MMIO_READ)
        error = count_in(statistics, LOG_STATISTICS_MMIO, payload->mmio_read.gpa, bytes);
    else if (event->kind == LOG_EVENT_RDMSR)
        error = count_in(statistics, LOG_STATISTICS_MSRS, payload->rdmsr.index, bytes);
    if (!error && is_exit(event))
        error = count_in(statistics, LOG_STATISTICS_CODE, event->regs.rip, bytes);
    return error;
}

/* Counts the events of one chunk; *done: how many could be decoded. */
static int add_chunk(struct log_statistics *statistics, const struct log_chunk_header *chunk,
                     const u8 *payload, bool tables, u32 *done)
{
    struct log_statistics_totals *totals = &statistics->totals;
    struct log_cursor in = {payload, payload + chunk->payload_len};
    struct log_event event;

    log_codec_start(&statistics->codec, chunk->first_branches, chunk->first_rip);
    for (*done = 0; *done < chunk->event_count; (*done)++) {
        const u8 *start = in.next;
        int error = log_decode_event(&statistics->codec, &in, &event);
        u64 bytes;

        if (error)
            return error;
        bytes = (u64)(in.next - start);
        totals->events[event.kind]++;
        totals->bytes[event.kind] += bytes;
        totals->exits[event.kind] += is_exit(&event);
        if (event.kind == LOG_EVENT_DMA)
            count_transfer(totals, event.payload.dma.stream, bytes, event.data_len);
        totals->last_branches = event.branches;
        totals->last_rip = event.regs.rip;
        totals->last_kind = event.kind;
        if (tables) {
            error = count_tables(statistics, &event, bytes);
            if (error)
                return error;
        }
    }
    return in.next == in.end ? 0 : ERR_END;
}

u32 log_statistics_add(struct log_statistics *statistics,
                       const struct log_statistics_chunks *chunks, bool tables, u32 *events,
                       int *error)
{
    *error = 0;
    *events = 0;
    for (u32 done = 0; done < chunks->count; done++) {
        u64 at = chunks->offsets[done] - chunks->base;
        struct log_chunk_header chunk;

        if (at > chunks->size || chunks->size - at < sizeof(chunk))
            return done;
        memcpy(&chunk, chunks->data + at, sizeof(chunk));
        at += sizeof(chunk);
        if (chunks->size - at < chunk.payload_len)
            return done;
        if (chunk.format_version != LOG_FORMAT_VERSION)
            *error = ERR_VERSION;
        else if (chunk.kind == LOG_CHUNK_KIND_EVENTS)
            *error = add_chunk(statistics, &chunk, chunks->data + at, tables, events);
        if (*error)
            return done;
    }
    return chunks->count;
}

const struct log_statistics_totals *log_statistics_totals(const struct log_statistics *statistics)
{
    return &statistics->totals;
}

const struct log_statistics_entry *log_statistics_table(const struct log_statistics *statistics,
                                                        u32 table, u64 *capacity)
{
    *capacity = statistics->tables[table].capacity;
    return statistics->tables[table].entries;
}
