/* The codings of event fields that are told relative to what is expected. The generated
 * log_format.h encodes each event kind with these and those of log_wire.h.
 *
 * What is just as expected takes no byte: then all of the payload is as expected, since such a
 * field is the only one of its event. */
#ifndef LVMM_REPLAY_LOG_FIELDS_H
#define LVMM_REPLAY_LOG_FIELDS_H

#include "replay/log_state.h"
#include "replay/log_wire.h"

#define LOG_ADDRESS_LIMIT BIT(56) /* of a `read` field */

/* Of the first number of a `read`: it is the difference to the address and size that are expected,
 * not to the value. */
#define LOG_READ_OTHER_ACCESS BIT(0)

/* What a conditional branch takes in ticks, roughly, for the prediction of times. */
#define LOG_TICKS_PER_BRANCH 6

/* A `ticks` field counts in units of so many bits. */
#define LOG_TICKS_SHIFT 8

/* Whether `address` and `size` can be stored as a `read` field. */
static inline bool log_access_valid(u64 address, u8 size)
{
    return address < LOG_ADDRESS_LIMIT && (size == 1 || size == 2 || size == 4 || size == 8);
}

/* What a read is told relative to. */
static inline void log_read_reference(const struct log_codec *codec, u64 *access, u64 *value)
{
    const struct log_site *site = &codec->sites[codec->slot];

    *access = codec->expected ? codec->expected->access : site->access;
    *value = codec->expected ? codec->expected->value : site->value;
}

static inline void log_remember_read(struct log_codec *codec, u64 access, u64 value)
{
    struct log_site *site = &codec->sites[codec->slot];

    codec->now.access = codec->access = site->access = access;
    codec->now.value = site->value = value;
}

static inline u8 *log_put_read(struct log_codec *codec, u8 *out, u64 address, u8 size, u64 value)
{
    u64 access = address << 2 | (u64)__builtin_ctz(size);
    u64 last_access, last_value, change;

    log_read_reference(codec, &last_access, &last_value);
    log_remember_read(codec, access, value);
    change = log_zigzag(value - last_value);
    if (access != last_access || change >> 63) {
        out = log_put_uvarint(out, log_zigzag(access - last_access) << 1 | LOG_READ_OTHER_ACCESS);
        return log_put_uvarint(out, change);
    }
    return codec->expected && !change ? out : log_put_uvarint(out, change << 1);
}

static inline int log_get_read(struct log_codec *codec, struct log_cursor *in, u64 *address,
                               u8 *size, u64 *value)
{
    u64 first = 0, change, access;
    int error = 0;

    log_read_reference(codec, &access, value);
    if (codec->stored)
        error = log_get_uvarint(in, &first);
    change = first >> 1;
    if (!error && first & LOG_READ_OTHER_ACCESS) {
        access += log_unzigzag(first >> 1);
        error = log_get_uvarint(in, &change);
    }
    *value += log_unzigzag(change);
    log_remember_read(codec, access, *value);
    *address = access >> 2;
    *size = (u8)(1 << (access & 3));
    if (!error && *address >= LOG_ADDRESS_LIMIT)
        return ERR_INVALID;
    return error;
}

/* The difference to the last time that is expected. */
static inline u64 log_expected_ticks(const struct log_codec *codec)
{
    u64 branches = codec->now.branches;

    if (!codec->expected)
        return branches * LOG_TICKS_PER_BRANCH;
    return codec->expected->value + (branches - codec->expected->branches) * LOG_TICKS_PER_BRANCH;
}

static inline u8 *log_put_tsc(struct log_codec *codec, u8 *out, u64 tsc)
{
    u64 difference = tsc - codec->tsc;
    u64 error = difference - log_expected_ticks(codec);

    codec->now.value = difference;
    codec->tsc = tsc;
    return codec->expected && !error ? out : log_put_svarint(out, error);
}

static inline int log_get_tsc(struct log_codec *codec, struct log_cursor *in, u64 *tsc)
{
    u64 difference = 0;
    int error = codec->stored ? log_get_svarint(in, &difference) : 0;

    codec->now.value = difference + log_expected_ticks(codec);
    codec->tsc += codec->now.value;
    *tsc = codec->tsc;
    return error;
}

/* A time as a `ticks` field can hold it. */
static inline u64 log_ticks(u64 tsc)
{
    return tsc >> LOG_TICKS_SHIFT << LOG_TICKS_SHIFT;
}

static inline bool log_ticks_valid(u64 tsc)
{
    return tsc == log_ticks(tsc);
}

/* As `tsc`, in coarse units. */
static inline u8 *log_put_ticks(struct log_codec *codec, u8 *out, u64 tsc)
{
    u64 difference = (tsc >> LOG_TICKS_SHIFT) - (codec->tsc >> LOG_TICKS_SHIFT);
    u64 error = difference - (codec->expected ? codec->expected->value : 0);

    codec->now.value = difference;
    codec->tsc = tsc;
    return codec->expected && !error ? out : log_put_svarint(out, error);
}

static inline int log_get_ticks(struct log_codec *codec, struct log_cursor *in, u64 *tsc)
{
    u64 difference = 0;
    int error = codec->stored ? log_get_svarint(in, &difference) : 0;

    codec->now.value = difference + (codec->expected ? codec->expected->value : 0);
    codec->tsc = ((codec->tsc >> LOG_TICKS_SHIFT) + codec->now.value) << LOG_TICKS_SHIFT;
    *tsc = codec->tsc;
    return error;
}

static inline u8 *log_put_vector(struct log_codec *codec, u8 *out, u8 vector)
{
    codec->now.sub = vector;
    return codec->expected && codec->expected->sub == vector ? out : log_put_u8(out, vector);
}

static inline int log_get_vector(struct log_codec *codec, struct log_cursor *in, u8 *vector)
{
    int error = 0;

    *vector = codec->expected ? codec->expected->sub : 0;
    if (codec->stored)
        error = log_get_u8(in, vector);
    codec->now.sub = *vector;
    return error;
}

/* Up to 8 bytes as a mask of those that differ, and those bytes; `last` becomes the data. */
static inline u8 *log_put_changed(u8 *out, const u8 *data, u8 *last, u32 length)
{
    u8 *changed = out++;

    *changed = 0;
    for (u32 i = 0; i < length; i++) {
        if (data[i] == last[i])
            continue;
        *changed |= (u8)BIT(i);
        *out++ = last[i] = data[i];
    }
    return out;
}

static inline int log_get_changed(struct log_cursor *in, u8 *last, u32 length)
{
    u8 changed = 0;
    int error = log_get_u8(in, &changed);

    if (error)
        return error;
    if (changed >> length)
        return ERR_INVALID;
    for (u32 i = 0; i < length && !error; i++)
        if (changed & BIT(i))
            error = log_get_u8(in, &last[i]);
    return error;
}

/* The data of a `frame` field, relative to the last one if it is not long. */
static inline u8 *log_put_frame(struct log_codec *codec, u8 *out, const void *data, u32 length)
{
    const u8 *bytes = data;

    out = log_put_uvarint(out, length);
    if (length > LOG_SENT_SMALL)
        return log_put_data(out, data, length);
    for (u32 at = 0; at < length; at += 8)
        out = log_put_changed(out, bytes + at, codec->sent + at, length - at < 8 ? length - at : 8);
    return out;
}

static inline int log_get_frame(struct log_codec *codec, struct log_cursor *in, const void **data,
                                u64 *length)
{
    int error = log_get_uvarint(in, length);

    if (error)
        return error;
    if (*length > LOG_SENT_SMALL)
        return log_get_data(in, data, *length);
    for (u64 at = 0; at < *length && !error; at += 8)
        error = log_get_changed(in, codec->sent + at, *length - at < 8 ? (u32)(*length - at) : 8);
    *data = codec->sent;
    return error;
}

#endif
