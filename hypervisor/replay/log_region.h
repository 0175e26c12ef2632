/* The reserved memory region that holds log and console output over a warm reset. */
#ifndef LVMM_REPLAY_LOG_REGION_H
#define LVMM_REPLAY_LOG_REGION_H

#include "log_format.h"

struct log_region_params {
    u64 recording_id;
    u32 mode;         /* enum log_mode */
    u64 console_size; /* bytes, a power of two, at least a page; 0: the default */
    bool overwrites;  /* the chunk area is a ring */
};

/* Formats `region` (page-aligned, `size` bytes): state EMPTY, no chunk, no console output. What it
 * held before is lost. ERR_INVALID: a bad parameter; ERR_NO_SPACE: too small. */
int log_region_format(void *region, u64 size, const struct log_region_params *params);

/* Whether the chunk area is a ring. */
bool log_region_overwrites(const void *region);
/* Bytes of the chunk area that chunks are in, the open one's apart. */
u64 log_region_used(const void *region);

/* The log that an earlier run left in a region. */
struct log_region_found {
    u32 format_version;
    u64 recording_id; /* these three are 0 where the format version is not ours */
    u64 events;
    u64 bytes;    /* of chunks, the open one's payload included */
    bool taken;   /* a tool has stored all of it */
    bool damaged; /* the region's header is, and there are chunks behind it */
};

/* Whether the region that begins with `header`, a page that may hold anything, has something
 * recorded in it. Of another format version only the header is known: that counts. */
bool log_region_holds_log(const void *header, struct log_region_found *found);

/* Likewise of the `size` bytes at `region`; where the header is damaged, there may be chunks. */
bool log_region_holds_any(const void *region, u64 size, struct log_region_found *found);

/* Sets the state that tools show; `state` is an enum log_region_state. */
void log_region_set_state(void *region, u32 state);

/* The ring of console output, and its size in bytes. */
u8 *log_console_ring(const void *region, u64 *size);
/* As if only so many console bytes had ever been written. */
void log_console_return(void *region, u64 bytes);

/* Console bytes ever written. */
u64 log_console_bytes(const void *region);

/* Copies at most `size` console bytes from byte number *offset on, or from the oldest that is still
 * there, whose number *offset then is. *end: bytes ever written. Returns how many were copied. */
u32 log_console_read(const void *region, u64 *offset, void *to, u32 size, u64 *end);

/* Copies at most `size` bytes of the region from `offset` on; returns how many. */
u32 log_region_read(const void *region, u64 offset, void *to, u32 size);

/* Appends a byte of the guest's console output; the ring keeps the newest. */
void log_console_put(void *region, u8 byte);

#endif
