/* The codings of the log's event fields, and the state that writer and reader keep alike to
 * predict them. The generated log_format.h encodes each event kind with these. */
#ifndef LVMM_REPLAY_LOG_WIRE_H
#define LVMM_REPLAY_LOG_WIRE_H

#include "lib/types.h"

#define LOG_SITES         256
#define LOG_STREAMS       256
#define LOG_SNAPSHOT_REGS (GPR_COUNT + 1) /* the general registers, then RFLAGS */
#define LOG_SNAPSHOT_NONE (-1)
#define LOG_UVARINT_MAX   10
#define LOG_ADDRESS_LIMIT BIT(56) /* of an `access` field */

/* The registers at a position. The position check is a CRC over exactly this layout. */
struct log_regs {
    u64 gpr[GPR_COUNT];
    u64 rip;
    u64 rflags;
};

/* What followed an event. The next one is predicted to be alike. */
struct log_successor {
    u64 branches; /* from the one to the other */
    u8 prefix;    /* kind and ASYNC, as in an event's first byte; 0: not known */
    u8 slot;      /* of the site where it took place */
};

/* What is remembered of one place in the guest's code. Valid in the codec's generation only. */
struct log_site {
    u64 rip;
    u64 access; /* the last access made here: address << 2 | log2(size) */
    u32 generation;
    u32 snapshot_generation;
    struct log_successor successor; /* of the last event here */
    u64 snapshot[LOG_SNAPSHOT_REGS];
};

struct log_stream {
    u64 end; /* guest-physical address after the last data */
    u32 generation;
};

/* Starts anew with each chunk; raising `generation` forgets all sites and streams at once. */
struct log_codec {
    u32 generation;
    u8 slot;           /* site of the last position */
    s16 last_snapshot; /* slot of the last snapshot stored, or LOG_SNAPSHOT_NONE */
    u64 branches;
    u64 rip;
    u64 tsc;
    u64 access;
    struct log_site sites[LOG_SITES];
    struct log_stream streams[LOG_STREAMS];
};

/* Input that is being decoded. */
struct log_cursor {
    const u8 *next;
    const u8 *end;
};

static inline u8 *log_put_u8(u8 *out, u8 value)
{
    *out = value;
    return out + 1;
}

static inline u8 *log_put_u16(u8 *out, u16 value)
{
    __builtin_memcpy(out, &value, sizeof(value));
    return out + sizeof(value);
}

static inline u8 *log_put_u32(u8 *out, u32 value)
{
    __builtin_memcpy(out, &value, sizeof(value));
    return out + sizeof(value);
}

static inline u8 *log_put_u64(u8 *out, u64 value)
{
    __builtin_memcpy(out, &value, sizeof(value));
    return out + sizeof(value);
}

static inline u8 *log_put_uvarint(u8 *out, u64 value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (u8)(value | 0x80);
    *out++ = (u8)value;
    return out;
}

/* `value` is a difference modulo 2^64, taken as signed; zigzag makes both small signs short. */
static inline u8 *log_put_svarint(u8 *out, u64 value)
{
    return log_put_uvarint(out, value << 1 ^ -(value >> 63));
}

static inline int log_get_bytes(struct log_cursor *in, void *value, size_t size)
{
    if ((size_t)(in->end - in->next) < size)
        return ERR_TRUNCATED;
    __builtin_memcpy(value, in->next, size);
    in->next += size;
    return 0;
}

static inline int log_get_u8(struct log_cursor *in, u8 *value)
{
    return log_get_bytes(in, value, sizeof(*value));
}

static inline int log_get_u16(struct log_cursor *in, u16 *value)
{
    return log_get_bytes(in, value, sizeof(*value));
}

static inline int log_get_u32(struct log_cursor *in, u32 *value)
{
    return log_get_bytes(in, value, sizeof(*value));
}

static inline int log_get_u64(struct log_cursor *in, u64 *value)
{
    return log_get_bytes(in, value, sizeof(*value));
}

static inline int log_get_uvarint(struct log_cursor *in, u64 *value)
{
    u64 result = 0;

    for (unsigned shift = 0; shift < 7 * LOG_UVARINT_MAX; shift += 7) {
        if (in->next == in->end)
            return ERR_TRUNCATED;

        u8 byte = *in->next++;

        if (shift == 63 && byte > 1)
            return ERR_INVALID;
        result |= (u64)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = result;
            return 0;
        }
    }
    return ERR_INVALID;
}

static inline int log_get_svarint(struct log_cursor *in, u64 *value)
{
    u64 zigzag = 0;
    int error = log_get_uvarint(in, &zigzag);

    *value = zigzag >> 1 ^ -(zigzag & 1);
    return error;
}

static inline u8 *log_put_tsc(struct log_codec *codec, u8 *out, u64 tsc)
{
    out = log_put_svarint(out, tsc - codec->tsc);
    codec->tsc = tsc;
    return out;
}

static inline int log_get_tsc(struct log_codec *codec, struct log_cursor *in, u64 *tsc)
{
    u64 difference = 0;
    int error = log_get_svarint(in, &difference);

    codec->tsc += difference;
    *tsc = codec->tsc;
    return error;
}

/* Whether `address` and `size` can be stored as an `access` field. */
static inline bool log_access_valid(u64 address, u8 size)
{
    return address < LOG_ADDRESS_LIMIT && (size == 1 || size == 2 || size == 4 || size == 8);
}

static inline u8 *log_put_access(struct log_codec *codec, u8 *out, u64 address, u8 size)
{
    struct log_site *site = &codec->sites[codec->slot];
    u64 access = address << 2 | (u64)__builtin_ctz(size);

    out = log_put_svarint(out, access - site->access);
    site->access = access;
    codec->access = access;
    return out;
}

static inline int log_get_access(struct log_codec *codec, struct log_cursor *in, u64 *address,
                                 u8 *size)
{
    struct log_site *site = &codec->sites[codec->slot];
    u64 difference = 0;
    int error = log_get_svarint(in, &difference);

    site->access += difference;
    codec->access = site->access;
    *address = site->access >> 2;
    *size = (u8)(1 << (site->access & 3));
    if (!error && *address >= LOG_ADDRESS_LIMIT)
        return ERR_INVALID;
    return error;
}

static inline u64 log_stream_end(const struct log_codec *codec, u8 stream)
{
    const struct log_stream *last = &codec->streams[stream];

    return last->generation == codec->generation ? last->end : 0;
}

static inline void log_stream_advance(struct log_codec *codec, u8 stream, u64 end)
{
    codec->streams[stream] = (struct log_stream){end, codec->generation};
}

#endif
