/* Writes a recording into the reserved memory region. */
#ifndef LVMM_REPLAY_LOG_WRITER_H
#define LVMM_REPLAY_LOG_WRITER_H

#include "replay/log_codec.h"
#include "replay/log_region.h"

struct log_writer {
    struct log_region_header *region;
    struct log_chunk_header *chunk; /* the open chunk; NULL: none */
    u8 *payload;                    /* of the open chunk */
    u32 used;                       /* bytes in it */
    u32 limit;                      /* as many may be used, the end's room kept back */
    u32 chunk_events;               /* events in it */
    u64 next_event;
    u64 branches; /* position of the last event */
    u64 rip;
    struct log_codec codec;
    u64 ring_start; /* where the ring begins in the chunk area, behind the recording header */
    u64 stored;     /* bytes of the log that a tool has taken */
};

/* Starts a recording in a formatted region. ERR_INVALID: not a region in state EMPTY. */
int log_writer_open(struct log_writer *writer, void *region);

/* Writes the recording header; must come first. ERR_INVALID: not first, or too large. */
int log_write_header(struct log_writer *writer, const struct log_recording_header *header);

/* Appends an event. ERR_INVALID: see log_encode_event(), or the recording header is missing;
 * ERR_NO_SPACE: the region is full, nothing was written. Room for one END event is kept back.
 * In a ring the oldest chunks are overwritten; there ERR_NO_SPACE means that the event is larger
 * than the ring. */
int log_write(struct log_writer *writer, const struct log_event *event);

/* The same for a DMA event at the position of the last one, which was DMA, too, but quicker. False:
 * nothing was written, log_write() has to do it. */
bool log_write_next_transfer(struct log_writer *writer, const struct log_dma *transfer,
                             const void *data, u32 length);

/* Closes the open chunk, so that its CRC protects it. */
int log_flush(struct log_writer *writer);

/* Ends the recording: closes the open chunk and sets the region's state, usually SEALED. */
int log_writer_seal(struct log_writer *writer, u32 state);

/* Of a tool that takes the log while it is written: it has stored the first `bytes` bytes of it.
 * When that is all of a sealed recording, the region's state becomes TAKEN. */
void log_writer_taken(struct log_writer *writer, u64 bytes);
/* Goes on at the region's start, with the chunk that is being written, if all completed chunks have
 * been taken. Whether there is more room now. */
bool log_writer_rewind(struct log_writer *writer);
/* Bytes of completed chunks, those that were taken included. */
u64 log_writer_completed(const struct log_writer *writer);

/* Bytes that the region has room for, the END event's apart. */
u64 log_writer_room(const struct log_writer *writer);

/* Bytes that the recording takes up so far. */
u64 log_writer_bytes(const struct log_writer *writer);

#endif
