/* What writer and reader of a chunk remember alike, to predict the next event. All of it begins
 * anew with each chunk: raising `generation` forgets everything at once (docs/log-format.md). */
#ifndef LVMM_REPLAY_LOG_STATE_H
#define LVMM_REPLAY_LOG_STATE_H

#include "lib/types.h"

#define LOG_SITES         256
#define LOG_STREAMS       256
#define LOG_SNAPSHOT_REGS (GPR_COUNT + 1) /* the general registers, then RFLAGS */
#define LOG_SNAPSHOT_NONE (-1)
#define LOG_STREAM_SMALL  8 /* data of up to this many bytes is stored as what differs */
#define LOG_SENT_SMALL    128

/* Transfers in a row that are as expected and take no byte of their own, at most. */
#define LOG_TRANSFER_RUN_MAX 32

/* The last events that the first prediction is made from. */
#define LOG_HISTORY 4

/* Places of the predictions: by the last events, by the last one, by the last asynchronous one. */
#define LOG_PREDICTIONS 3
#define LOG_LONG_SLOTS  1024
#define LOG_SHORT_SLOTS 256
#define LOG_ASYNC_SLOTS 64

/* The first byte of an event that is not predicted: its kind and these. */
#define LOG_PREFIX_KIND  0x1f
#define LOG_PREFIX_SAME  0x20
#define LOG_PREFIX_ASYNC 0x40

/* The registers at a position. The position check is a CRC over exactly this layout. */
struct log_regs {
    u64 gpr[GPR_COUNT];
    u64 rip;
    u64 rflags;
};

/* What can be predicted of an event. */
struct log_fact {
    u64 branches; /* since the last position */
    u64 rip;
    u64 access; /* of a `read`: address << 2 | log2(size) */
    u64 value;  /* of a `read`; of a time: the difference to the last one */
    u8 prefix;
    u8 sub; /* vector or stream */
};

/* What followed certain events when they were there last. */
struct log_next {
    u32 tag; /* tells events apart that share the place */
    u32 generation;
    bool doubted; /* another kind followed the last time */
    struct log_fact fact;
};

/* A place for what follows the last events. */
struct log_context {
    struct log_next *next;
    u32 tag;
    bool known;
};

/* What is remembered of one place in the guest's code. Valid in the codec's generation only. */
struct log_site {
    u64 rip;
    u64 access; /* the last access made here */
    u64 value;  /* what it read */
    u32 generation;
    bool unchecked; /* the last asynchronous event here had no check */
    u32 snapshot_generation;
    u64 snapshot[LOG_SNAPSHOT_REGS];
};

/* What is remembered of a DMA stream. Valid in the codec's generation only. */
struct log_stream {
    u64 end;               /* guest-physical address after the last data */
    u64 step, step_before; /* from the end before to the last data's address; the other before it */
    u64 data;              /* the last that was not longer than this, with zeros behind it */
    u32 generation;
    u32 length; /* of the last data, bytes */
    u8 next;    /* the stream of the transfer that followed at the same position */
};

/* The last event, if it is a transfer: others at its position may follow it without a token. */
struct log_transfers {
    u8 *head;  /* writing; NULL: it is none */
    u8 *count; /* writing: of those behind it that are as expected; NULL: none yet */
    u8 number; /* of its stream */
    u8 run;    /* reading: transfers as expected that are still due; */
    bool more; /* then one that is stored */
};

struct log_codec {
    u32 generation;
    u8 slot;           /* site of the last position */
    s16 last_snapshot; /* slot of the last snapshot stored, or LOG_SNAPSHOT_NONE */
    u64 branches;
    u64 rip;
    u64 half_rip[2]; /* the last one in either half of the address space */
    u64 tsc;
    u64 access;

    /* Events that were as predicted, and are not stored but as a number. */
    u8 run; /* writing: how many since the last stored one; reading: how many are still due */
    bool announced; /* reading: the number before the next stored one has been seen */
    u8 trailing;    /* reading: how many since the last stored one of the chunk */

    /* The event at hand. */
    struct log_fact now;
    const struct log_fact *expected; /* what it is told relative to, or NULL */
    bool stored;                     /* reading: its payload is stored */

    u64 history[LOG_HISTORY]; /* marks of the last events, newest first */
    u64 async_history;        /* of the last asynchronous event */
    struct log_context contexts[LOG_PREDICTIONS];
    struct log_next by_history[LOG_LONG_SLOTS];
    struct log_next by_last[LOG_SHORT_SLOTS];
    struct log_next by_async[LOG_ASYNC_SLOTS];
    struct log_site sites[LOG_SITES];
    struct log_stream streams[LOG_STREAMS];
    struct log_transfers transfers;
    u8 sent[LOG_SENT_SMALL]; /* the last frame sent that is not longer */
};

#endif
