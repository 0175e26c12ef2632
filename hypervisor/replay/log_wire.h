/* The primitive codings of the log: integers and bytes. */
#ifndef LVMM_REPLAY_LOG_WIRE_H
#define LVMM_REPLAY_LOG_WIRE_H

#include "lib/types.h"

#define LOG_UVARINT_MAX 10 /* bytes of a 64-bit integer */

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

/* A difference modulo 2^64, taken as signed, as a number that is small for small ones of both
 * signs. */
static inline u64 log_zigzag(u64 difference)
{
    return difference << 1 ^ -(difference >> 63);
}

static inline u64 log_unzigzag(u64 value)
{
    return value >> 1 ^ -(value & 1);
}

static inline u8 *log_put_svarint(u8 *out, u64 difference)
{
    return log_put_uvarint(out, log_zigzag(difference));
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

    *value = log_unzigzag(zigzag);
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

#endif
