/* Reads a recording: the concatenated chunks that extract_log.py writes as log.lvmm. Safe on any
 * bytes. */
#ifndef LVMM_REPLAY_LOG_READER_H
#define LVMM_REPLAY_LOG_READER_H

#include "replay/log_codec.h"

/* A place in a log to come back to: a chunk. */
struct log_mark {
    u64 chunk; /* its offset */
    u64 first_event;
    u32 seq;
};

struct log_reader {
    const u8 *base;
    u64 size;
    struct log_mark chunk; /* that of the event read last */
    u64 next_chunk;        /* offset of the chunk after the current one */
    u64 recording_id;
    u32 next_seq;
    u64 next_event;
    u64 branches; /* position of the last event */
    u64 rip;
    u32 events_left;                    /* in the current chunk */
    struct log_cursor input;            /* the rest of its payload */
    int error;                          /* the error that ended reading, or 0 */
    struct log_recording_header header; /* points into the log */
    struct log_codec codec;
};

/* Opens a recording at `base` (8-byte aligned) and reads its header. Texts and tables of
 * reader->header point into the log; texts have no terminator. ERR_INVALID: not a log;
 * ERR_VERSION: of another format version; ERR_TRUNCATED, ERR_CHECKSUM: damaged. */
int log_reader_open(struct log_reader *reader, const void *base, u64 size);

/* Reads the next event: 1, or ERR_END after the last, or ERR_INVALID, ERR_TRUNCATED, ERR_CHECKSUM
 * or ERR_VERSION when the log is damaged; the same error again from then on. A chunk's CRC is
 * checked before its first event is given. */
int log_read(struct log_reader *reader, struct log_event *event);

/* Goes back to a mark, which is an earlier value of reader->chunk after an event was read, and on
 * to the event with this number in its chunk: log_read() reads that next. Errors as there. */
int log_reader_return(struct log_reader *reader, const struct log_mark *mark, u64 event);

#endif
