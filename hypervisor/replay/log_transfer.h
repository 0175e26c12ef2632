/* The coding of transfers: what devices wrote into guest memory (docs/log-format.md).
 *
 * Those of one harvest are at one position. The first is an event like any other; behind it a bit
 * in its head says that another head follows, without anything in front, or a number that so many
 * are just as expected. */
#ifndef LVMM_REPLAY_LOG_TRANSFER_H
#define LVMM_REPLAY_LOG_TRANSFER_H

#include "replay/log_fields.h"

/* A transfer's head: what of it is not as expected, and what comes behind it. */
#define LOG_TRANSFER_LENGTH  BIT(0)
#define LOG_TRANSFER_STEP    BIT(1)
#define LOG_TRANSFER_BACK    BIT(2) /* the step is the one before the last */
#define LOG_TRANSFER_STREAM  BIT(3)
#define LOG_TRANSFER_CHANGED BIT(4) /* small data, of the last length */
#define LOG_TRANSFER_RUN     BIT(5) /* a number of transfers that are as expected */
#define LOG_TRANSFER_MORE    BIT(6) /* then another head */
#define LOG_TRANSFER_FLAGS   0x7f

static inline struct log_stream *log_stream_of(struct log_codec *codec, u8 number)
{
    struct log_stream *stream = &codec->streams[number];

    if (stream->generation != codec->generation)
        *stream = (struct log_stream){.generation = codec->generation, .next = number};
    return stream;
}

static inline u64 log_small_data(const void *data, u32 length)
{
    u64 value = 0;

    if (length == sizeof(value))
        __builtin_memcpy(&value, data, sizeof(value));
    else if (length != 0)
        __builtin_memcpy(&value, data, length);
    return value;
}

/* A mask of the bytes that differ, and those bytes. */
static inline u8 *log_put_small(u8 *out, u64 data, u64 last)
{
    u8 *changed = out++;

    *changed = 0;
    for (u64 rest = data ^ last; rest != 0;) {
        unsigned i = (unsigned)__builtin_ctzll(rest) / 8;

        *changed |= (u8)BIT(i);
        *out++ = (u8)(data >> 8 * i);
        rest &= ~(0xffULL << 8 * i);
    }
    return out;
}

static inline int log_get_small(struct log_cursor *in, u64 *last, u32 length)
{
    u8 changed = 0, byte = 0;
    int error = log_get_u8(in, &changed);

    if (error)
        return error;
    if (changed >> length)
        return ERR_INVALID;
    for (u32 i = 0; i < length && !error; i++) {
        if (!(changed & BIT(i)))
            continue;
        error = log_get_u8(in, &byte);
        *last = (*last & ~(0xffULL << 8 * i)) | (u64)byte << 8 * i;
    }
    return error;
}

static inline void log_take_step(struct log_stream *stream, u64 step)
{
    if (step == stream->step)
        return;
    stream->step_before = stream->step;
    stream->step = step;
}

static inline u8 *log_put_any_transfer(struct log_codec *codec, u8 *out, bool stream_expected,
                                       u8 number, u64 gpa, const void *data, u32 length)
{
    struct log_stream *stream = log_stream_of(codec, number);
    u64 step = gpa - stream->end;
    u8 *head = out++, flags = 0;

    if (!stream_expected) {
        flags |= LOG_TRANSFER_STREAM;
        out = log_put_u8(out, number);
    }
    if (step != stream->step && step == stream->step_before) {
        flags |= LOG_TRANSFER_BACK;
    } else if (step != stream->step) {
        flags |= LOG_TRANSFER_STEP;
        out = log_put_svarint(out, step);
    }
    if (length != stream->length) {
        flags |= LOG_TRANSFER_LENGTH;
        out = log_put_uvarint(out, length);
    }
    if (length > LOG_STREAM_SMALL || flags & LOG_TRANSFER_LENGTH)
        out = log_put_data(out, data, length);
    if (length <= LOG_STREAM_SMALL) {
        u64 value = log_small_data(data, length);

        if (!(flags & LOG_TRANSFER_LENGTH) && value != stream->data) {
            flags |= LOG_TRANSFER_CHANGED;
            out = log_put_small(out, value, stream->data);
        }
        stream->data = value;
    }
    *head = flags;
    log_take_step(stream, step);
    stream->end = gpa + length;
    stream->length = length;
    codec->transfers = (struct log_transfers){.head = head, .number = number};
    return out;
}

/* The first of its position. */
static inline u8 *log_put_transfer(struct log_codec *codec, u8 *out, u8 number, u64 gpa,
                                   const void *data, u32 length)
{
    codec->now.sub = number;
    return log_put_any_transfer(codec, out, codec->expected && codec->expected->sub == number,
                                number, gpa, data, length);
}

/* One that follows the last event, which was a transfer at the same position. */
static inline u8 *log_put_next_transfer(struct log_codec *codec, u8 *out, u8 number, u64 gpa,
                                        const void *data, u32 length)
{
    struct log_transfers *last = &codec->transfers;
    struct log_stream *stream = log_stream_of(codec, number);
    u8 *expected = &codec->streams[last->number].next;
    bool is_expected = *expected == number;

    if (number == last->number && length <= LOG_STREAM_SMALL && length == stream->length &&
        gpa - stream->end == stream->step && log_small_data(data, length) == stream->data) {
        if (last->count == NULL) {
            *last->head |= LOG_TRANSFER_RUN;
            last->count = out++;
            *last->count = 0;
        }
        if (*last->count < LOG_TRANSFER_RUN_MAX) {
            ++*last->count;
            stream->end = gpa + length;
            return out;
        }
    }
    *last->head |= LOG_TRANSFER_MORE;
    *expected = number;
    return log_put_any_transfer(codec, out, is_expected, number, gpa, data, length);
}

/* Reads what follows the head; `number` is the expected stream. */
static inline int log_get_transfer_fields(struct log_codec *codec, struct log_cursor *in, u8 head,
                                          u8 *number, u64 *gpa, const void **data, u32 *length)
{
    struct log_stream *stream;
    u64 step, bytes;
    u8 count = 0;
    int error = 0;

    if (head & (u8)~LOG_TRANSFER_FLAGS)
        return ERR_INVALID;
    if (head & LOG_TRANSFER_STREAM)
        error = log_get_u8(in, number);
    stream = log_stream_of(codec, *number);
    step = head & LOG_TRANSFER_BACK ? stream->step_before : stream->step;
    bytes = stream->length;
    if (!error && head & LOG_TRANSFER_STEP)
        error = log_get_svarint(in, &step);
    if (!error && head & LOG_TRANSFER_LENGTH)
        error = log_get_uvarint(in, &bytes);
    if (!error && (bytes > LOG_STREAM_SMALL || head & LOG_TRANSFER_LENGTH))
        error = log_get_data(in, data, bytes);
    else if (!error && head & LOG_TRANSFER_CHANGED)
        error = log_get_small(in, &stream->data, (u32)bytes);
    if (!error && bytes <= LOG_STREAM_SMALL) {
        if (head & LOG_TRANSFER_LENGTH)
            stream->data = log_small_data(*data, (u32)bytes);
        *data = &stream->data;
    }
    if (!error && head & LOG_TRANSFER_RUN) {
        error = log_get_u8(in, &count);
        if (!error && (!count || count > LOG_TRANSFER_RUN_MAX || bytes > LOG_STREAM_SMALL))
            return ERR_INVALID;
    }
    log_take_step(stream, step);
    *gpa = stream->end + step;
    stream->end = *gpa + bytes;
    *length = stream->length = (u32)bytes;
    codec->transfers = (struct log_transfers){
        .number = *number, .run = count, .more = (head & LOG_TRANSFER_MORE) != 0};
    return error;
}

/* `data` is set to the data's place in the input or in the codec: it is there until the next event
 * is decoded. */
static inline int log_get_transfer(struct log_codec *codec, struct log_cursor *in, u8 *number,
                                   u64 *gpa, const void **data, u32 *length)
{
    u8 head = 0;
    int error = codec->stored ? log_get_u8(in, &head) : ERR_INVALID;

    if (!error && !codec->expected && !(head & LOG_TRANSFER_STREAM))
        error = ERR_INVALID;
    if (error)
        return error;
    *number = codec->expected ? codec->expected->sub : 0;
    error = log_get_transfer_fields(codec, in, head, number, gpa, data, length);
    codec->now.sub = *number;
    return error;
}

/* Whether the next event is a transfer behind the last one. */
static inline bool log_transfer_follows(const struct log_codec *codec)
{
    return codec->transfers.run || codec->transfers.more;
}

static inline int log_get_next_transfer(struct log_codec *codec, struct log_cursor *in, u8 *number,
                                        u64 *gpa, const void **data, u32 *length)
{
    struct log_transfers *last = &codec->transfers;
    struct log_stream *stream = log_stream_of(codec, last->number);
    u8 head = 0;
    int error;

    *number = last->number;
    if (last->run) {
        last->run--;
        *gpa = stream->end + stream->step;
        stream->end = *gpa + stream->length;
        *data = &stream->data;
        *length = stream->length;
        return 0;
    }
    *number = stream->next;
    error = log_get_u8(in, &head);
    if (!error)
        error = log_get_transfer_fields(codec, in, head, number, gpa, data, length);
    stream->next = *number;
    return error;
}

#endif
