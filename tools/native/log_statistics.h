/* Counts what is in the chunks of a log: the monitor's own decoder for the tools, which load this
 * as a shared library (tools/lvmm/logs/native.py). */
#ifndef LVMM_NATIVE_LOG_STATISTICS_H
#define LVMM_NATIVE_LOG_STATISTICS_H

#include "lib/types.h"

#define LOG_STATISTICS_KINDS   32
#define LOG_STATISTICS_STREAMS 256

/* What a table counts: events by where they come from. */
enum log_statistics_table {
    LOG_STATISTICS_PORTS, /* IN and IN_STRING, by port */
    LOG_STATISTICS_MMIO,  /* MMIO_READ, by guest-physical address */
    LOG_STATISTICS_MSRS,  /* RDMSR, by number */
    LOG_STATISTICS_CODE,  /* events that an instruction caused, by its address */
    LOG_STATISTICS_TABLES,
};

struct log_statistics_entry {
    u64 address;
    u64 events; /* 0: not used */
    u64 bytes;  /* of the log */
};

/* Bytes are those of the log; `data` bytes are what devices wrote. */
struct log_statistics_totals {
    u64 events[LOG_STATISTICS_KINDS];
    u64 bytes[LOG_STATISTICS_KINDS];
    u64 exits[LOG_STATISTICS_KINDS]; /* events that an instruction of the guest caused */
    u64 stream_events[LOG_STATISTICS_STREAMS];
    u64 stream_bytes[LOG_STATISTICS_STREAMS];
    u64 stream_data[LOG_STATISTICS_STREAMS];
    u64 last_branches; /* position of the last event */
    u64 last_rip;
    u64 uncounted[LOG_STATISTICS_TABLES]; /* events that a full table had no room for */
    u32 last_kind;                        /* of the last event */
    u32 reserved;
};

struct log_statistics;

/* NULL: no memory. `table_max`: most entries of each table. */
struct log_statistics *log_statistics_new(u64 table_max);
void log_statistics_free(struct log_statistics *statistics);

/* A part of a log, and where in it chunks are. */
struct log_statistics_chunks {
    const u8 *data;
    u64 size;
    const u64 *offsets; /* counted as `base` is, which is the place of data[0] */
    u64 base;
    u32 count;
    u32 reserved;
};

/* Decodes the events of the chunks and counts them; with `tables` false only in the totals. Returns
 * how many chunks are done: it stops at one that is not all in `data`, with *error 0, and at one
 * that cannot be decoded beyond its first *events: ERR_INVALID, ERR_TRUNCATED, ERR_END when bytes
 * follow its last event; ERR_NO_SPACE: no memory. */
u32 log_statistics_add(struct log_statistics *statistics,
                       const struct log_statistics_chunks *chunks, bool tables, u32 *events,
                       int *error);

const struct log_statistics_totals *log_statistics_totals(const struct log_statistics *statistics);

/* The entries of a table, `*capacity` places of which some are not used. */
const struct log_statistics_entry *log_statistics_table(const struct log_statistics *statistics,
                                                        u32 table, u64 *capacity);

#endif
