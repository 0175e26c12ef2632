/* One event, and how it is stored in a chunk (docs/log-format.md). */
#ifndef LVMM_REPLAY_LOG_CODEC_H
#define LVMM_REPLAY_LOG_CODEC_H

#include "log_format.h"

struct log_event {
    u8 kind;            /* enum log_event_kind */
    bool async;         /* takes place between two instructions, not caused by the guest */
    bool same_position; /* as the event before; then `regs` and `check` are not stored */
    bool full;          /* writing: store all registers */
    bool place;         /* asynchronous, with check: RF and RCX are stored, to find it again */
    bool has_check;     /* there is a check of the position; always if `full` */
    u32 out_crc;        /* writing: CRC-32C of everything that the guest has put out so far */

    /* The position: set after reading in any case, RIP in `regs.rip`. */
    u64 branches;
    /* Writing: needed unless same_position. Reading: only RIP, unless has_regs; RFLAGS.RF and RCX
     * if `place`. */
    struct log_regs regs;

    u64 index;     /* reading: number of this event in the recording, from 0 */
    bool has_regs; /* reading: `regs` is complete */
    u16 check;     /* reading: log_position_check() of the registers, or 0 */

    union log_payload payload;
    const void *data; /* the payload's data; after reading valid until the next event is read */
    u32 data_len;
};

/* What a position is checked by: it covers the registers and all output so far. */
u16 log_position_check(const struct log_regs *regs, u32 out_crc);

/* Starts a chunk whose first event is at this position. */
void log_codec_start(struct log_codec *codec, u64 first_branches, u64 first_rip);

/* Encodes `event` at `out`, which has room for LOG_EVENT_OVERHEAD_MAX + data_len bytes, and sets
 * *size to the bytes used: none for one that is as predicted. ERR_INVALID: the event cannot be
 * stored (kind, size or address unknown to the format, more data than LOG_EVENT_DATA_MAX, branches
 * going backwards); the codec is as before. */
int log_encode_event(struct log_codec *codec, const struct log_event *event, u8 *out, u32 *size);

/* Decodes one event; all fields that its kind and flags give a meaning are set, but for `index`.
 * Behind the input's end come those that were as predicted: the chunk's header says how many.
 * ERR_INVALID or ERR_TRUNCATED: malformed; the codec is then of no more use. */
int log_decode_event(struct log_codec *codec, struct log_cursor *in, struct log_event *event);

#endif
