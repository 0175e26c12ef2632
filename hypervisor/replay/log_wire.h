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

/* Data of up to this many bytes is stored as what differs from the stream's last. */
#define LOG_STREAM_SMALL 8

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
    u64 value;  /* what it read */
    u32 generation;
    u32 snapshot_generation;
    struct log_successor successor; /* of the last event here */
    u64 snapshot[LOG_SNAPSHOT_REGS];
};

/* What is remembered of a DMA stream. Valid in the codec's generation only. */
struct log_stream {
    u64 end;  /* guest-physical address after the last data */
    u64 step; /* from the end before to the last data's address */
    u32 generation;
    u32 length;                /* of the last data, bytes */
    u8 data[LOG_STREAM_SMALL]; /* the last data, if it is not longer */
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

/* Whether `address` and `size` can be stored as a `read` field. */
static inline bool log_access_valid(u64 address, u8 size)
{
    return address < LOG_ADDRESS_LIMIT && (size == 1 || size == 2 || size == 4 || size == 8);
}

static inline u8 *log_put_read(struct log_codec *codec, u8 *out, u64 address, u8 size, u64 value)
{
    struct log_site *site = &codec->sites[codec->slot];
    u64 access = address << 2 | (u64)__builtin_ctz(size);
    bool changed = value != site->value;

    out = log_put_svarint(out, (access - site->access) << 1 | changed);
    if (changed)
        out = log_put_uvarint(out, value ^ site->value);
    site->access = access;
    site->value = value;
    codec->access = access;
    return out;
}

static inline int log_get_read(struct log_codec *codec, struct log_cursor *in, u64 *address,
                               u8 *size, u64 *value)
{
    struct log_site *site = &codec->sites[codec->slot];
    u64 difference = 0, change = 0;
    int error = log_get_svarint(in, &difference);

    if (!error && difference & 1)
        error = log_get_uvarint(in, &change);
    site->access += (u64)((s64)difference >> 1);
    site->value ^= change;
    codec->access = site->access;
    *address = site->access >> 2;
    *size = (u8)(1 << (site->access & 3));
    *value = site->value;
    if (!error && *address >= LOG_ADDRESS_LIMIT)
        return ERR_INVALID;
    return error;
}

static inline u8 *log_put_data(u8 *out, const void *data, u32 length)
{
    if (length)
        __builtin_memcpy(out, data, length);
    return out + length;
}

/* `data` is set to the data's place in the input. */
static inline int log_get_data(struct log_cursor *in, const void **data, u64 length)
{
    if ((size_t)(in->end - in->next) < length)
        return ERR_TRUNCATED;
    *data = in->next;
    in->next += length;
    return 0;
}

static inline struct log_stream *log_stream_of(struct log_codec *codec, u8 number)
{
    struct log_stream *stream = &codec->streams[number];

    if (stream->generation != codec->generation)
        *stream = (struct log_stream){.generation = codec->generation};
    return stream;
}

/* The beginning of a transfer is the stream's number and two of these. */
#define LOG_TRANSFER_OTHER_LENGTH BIT(0)
#define LOG_TRANSFER_OTHER_STEP   BIT(1)
#define LOG_TRANSFER_STREAM_SHIFT 2

static inline u8 *log_put_transfer(struct log_codec *codec, u8 *out, u8 number, u64 gpa,
                                   const void *data, u32 length)
{
    struct log_stream *stream = log_stream_of(codec, number);
    const u8 *bytes = data;
    u64 step = gpa - stream->end;
    bool other_step = step != stream->step, other_length = length != stream->length;

    out = log_put_uvarint(out, (u64)number << LOG_TRANSFER_STREAM_SHIFT |
                                   (other_step ? LOG_TRANSFER_OTHER_STEP : 0) |
                                   (other_length ? LOG_TRANSFER_OTHER_LENGTH : 0));
    if (other_step)
        out = log_put_svarint(out, step);
    if (other_length)
        out = log_put_uvarint(out, length);
    if (!other_length && length <= LOG_STREAM_SMALL) {
        u8 *changed = out++;

        *changed = 0;
        for (u32 i = 0; i < length; i++) {
            if (bytes[i] == stream->data[i])
                continue;
            *changed |= (u8)BIT(i);
            *out++ = bytes[i];
        }
    } else {
        out = log_put_data(out, data, length);
    }
    if (length && length <= LOG_STREAM_SMALL)
        __builtin_memcpy(stream->data, data, length);
    stream->step = step;
    stream->end = gpa + length;
    stream->length = length;
    return out;
}

static inline int log_get_changed_data(struct log_stream *stream, struct log_cursor *in)
{
    u8 changed = 0;
    int error = log_get_u8(in, &changed);

    if (error)
        return error;
    if (changed >> stream->length)
        return ERR_INVALID;
    for (u32 i = 0; i < stream->length && !error; i++)
        if (changed & BIT(i))
            error = log_get_u8(in, &stream->data[i]);
    return error;
}

/* `data` is set to the data's place in the input or in the codec: it is there until the next event
 * is decoded. */
static inline int log_get_transfer(struct log_codec *codec, struct log_cursor *in, u8 *number,
                                   u64 *gpa, const void **data, u32 *length)
{
    u64 head = 0;
    int error = log_get_uvarint(in, &head);

    if (error)
        return error;
    if (head >> LOG_TRANSFER_STREAM_SHIFT >= LOG_STREAMS)
        return ERR_INVALID;
    *number = (u8)(head >> LOG_TRANSFER_STREAM_SHIFT);

    struct log_stream *stream = log_stream_of(codec, *number);
    u64 bytes = stream->length;

    if (head & LOG_TRANSFER_OTHER_STEP)
        error = log_get_svarint(in, &stream->step);
    if (!error && head & LOG_TRANSFER_OTHER_LENGTH)
        error = log_get_uvarint(in, &bytes);
    if (error)
        return error;
    if (bytes <= LOG_STREAM_SMALL && !(head & LOG_TRANSFER_OTHER_LENGTH)) {
        *data = stream->data;
        error = log_get_changed_data(stream, in);
    } else {
        error = log_get_data(in, data, bytes);
        if (!error && bytes <= LOG_STREAM_SMALL)
            __builtin_memcpy(stream->data, *data, bytes);
    }
    if (error)
        return error;
    *length = stream->length = (u32)bytes;
    *gpa = stream->end + stream->step;
    stream->end = *gpa + bytes;
    return 0;
}

#endif
