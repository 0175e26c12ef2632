#include "replay/log_codec.h"

#include "lib/crc32c.h"

/* The first byte of an event: its kind and these. No kind: kind and site are as predicted, and so
 * are the branches unless they are said to follow. */
#define PREFIX_KIND     0x1f
#define PREFIX_SAME     0x20
#define PREFIX_BRANCHES 0x20 /* without a kind */
#define PREFIX_ASYNC    0x40
#define PREFIX_FULL     0x80

/* Branches are stored as a difference with one bit for the site beside it. */
#define BRANCHES_LIMIT BIT(63)
#define SITE_MISS      1

#define SNAPSHOT_RFLAGS GPR_COUNT

/* The site table's slot of an address: multiplicative hashing spreads neighbours. */
static u8 site_slot(u64 rip)
{
    return (u8)(rip * 0x9e3779b97f4a7c15ULL >> 56);
}

/* Makes `slot` the site of `rip`. It predicts accesses by the last one anywhere, and neither
 * registers nor a successor. */
static void site_install(struct log_codec *codec, u8 slot, u64 rip)
{
    struct log_site *site = &codec->sites[slot];

    site->rip = rip;
    site->access = codec->access;
    site->value = 0;
    site->generation = codec->generation;
    site->snapshot_generation = codec->generation - 1;
    site->successor.prefix = 0;
}

u16 log_position_check(const struct log_regs *regs, u32 out_crc)
{
    struct log_regs checked = *regs;

    checked.rflags &= ~LOG_RFLAGS_UNCHECKED;
    return (u16)crc32c(crc32c(0, &checked, sizeof(checked)), &out_crc, sizeof(out_crc));
}

void log_codec_start(struct log_codec *codec, u64 first_branches, u64 first_rip)
{
    /* A generation used before must not come back while sites or streams of it are there. */
    if (++codec->generation == 0) {
        for (unsigned i = 0; i < LOG_SITES; i++)
            codec->sites[i].generation = codec->sites[i].snapshot_generation = 0;
        for (unsigned i = 0; i < LOG_STREAMS; i++)
            codec->streams[i].generation = 0;
        codec->generation = 1;
    }
    codec->last_snapshot = LOG_SNAPSHOT_NONE;
    codec->branches = first_branches;
    codec->rip = first_rip;
    codec->tsc = 0;
    codec->access = 0;
    codec->slot = site_slot(first_rip);
    site_install(codec, codec->slot, first_rip);
}

/* The slot whose snapshot predicts the registers at the codec's site, or LOG_SNAPSHOT_NONE. */
static s16 snapshot_slot(const struct log_codec *codec)
{
    if (codec->sites[codec->slot].snapshot_generation == codec->generation)
        return codec->slot;
    return codec->last_snapshot;
}

/* Encodes the registers that differ from their prediction, and remembers them all. */
static u8 *put_registers(struct log_codec *codec, const struct log_regs *regs, u8 *out)
{
    static const u64 zeros[LOG_SNAPSHOT_REGS];
    s16 predicted = snapshot_slot(codec);
    const u64 *old = predicted < 0 ? zeros : codec->sites[predicted].snapshot;
    struct log_site *site = &codec->sites[codec->slot];
    u64 changed = 0;

    for (unsigned i = 0; i < LOG_SNAPSHOT_REGS; i++) {
        u64 value = i == SNAPSHOT_RFLAGS ? regs->rflags : regs->gpr[i];

        if (value != old[i])
            changed |= BIT(i);
    }
    out = log_put_uvarint(out, changed);
    for (unsigned i = 0; i < LOG_SNAPSHOT_REGS; i++) {
        u64 value = i == SNAPSHOT_RFLAGS ? regs->rflags : regs->gpr[i];

        if (changed & BIT(i))
            out = log_put_svarint(out, value - old[i]);
        site->snapshot[i] = value;
    }
    site->snapshot_generation = codec->generation;
    codec->last_snapshot = codec->slot;
    return out;
}

static int get_registers(struct log_codec *codec, struct log_cursor *in, struct log_regs *regs)
{
    s16 predicted = snapshot_slot(codec);
    struct log_site *site = &codec->sites[codec->slot];
    u64 changed = 0;
    int error = log_get_uvarint(in, &changed);

    if (error)
        return error;
    if (changed >> LOG_SNAPSHOT_REGS)
        return ERR_INVALID;
    for (unsigned i = 0; i < LOG_SNAPSHOT_REGS; i++) {
        u64 difference = 0;

        if (changed & BIT(i))
            error = log_get_svarint(in, &difference);
        if (error)
            return error;
        site->snapshot[i] = (predicted < 0 ? 0 : codec->sites[predicted].snapshot[i]) + difference;
    }
    for (unsigned i = 0; i < GPR_COUNT; i++)
        regs->gpr[i] = site->snapshot[i];
    regs->rflags = site->snapshot[SNAPSHOT_RFLAGS];
    site->snapshot_generation = codec->generation;
    codec->last_snapshot = codec->slot;
    return 0;
}

/* Goes on to the position of `next`, whose slot holds its site by now. */
static void move_on(struct log_codec *codec, const struct log_successor *next)
{
    codec->slot = next->slot;
    codec->rip = codec->sites[next->slot].rip;
    codec->branches += next->branches;
}

/* Encodes prefix and position: as predicted by the last position's site, or relative to the last
 * position. Makes it the last. */
static u8 *put_position(struct log_codec *codec, const struct log_event *event, u8 prefix, u8 *out)
{
    u64 rip = event->regs.rip;
    struct log_successor *predicted = &codec->sites[codec->slot].successor;
    struct log_successor next = {
        .branches = event->branches - codec->branches,
        .prefix = prefix & (u8)~PREFIX_FULL,
        .slot = site_slot(rip),
    };
    const struct log_site *site = &codec->sites[next.slot];
    bool hit = site->generation == codec->generation && site->rip == rip;

    if (hit && next.prefix == predicted->prefix && next.slot == predicted->slot) {
        bool exact = next.branches == predicted->branches;

        out = log_put_u8(out, (prefix & PREFIX_FULL) | (exact ? 0 : PREFIX_BRANCHES));
        if (!exact)
            out = log_put_uvarint(out, next.branches);
        *predicted = next;
    } else {
        *predicted = next; /* first: the new site may take over its slot */
        out = log_put_u8(out, prefix);
        out = log_put_uvarint(out, next.branches << 1 | (hit ? 0 : SITE_MISS));
        if (hit) {
            out = log_put_u8(out, next.slot);
        } else {
            out = log_put_svarint(out, rip - codec->rip);
            site_install(codec, next.slot, rip);
        }
    }
    move_on(codec, &next);
    return out;
}

/* Decodes where an event that is not predicted took place, into `next`. */
static int get_successor(struct log_codec *codec, struct log_cursor *in, struct log_successor *next)
{
    struct log_successor *predicted = &codec->sites[codec->slot].successor;
    u64 branches = 0;
    u64 difference = 0;
    int error = log_get_uvarint(in, &branches);

    if (!error && branches & SITE_MISS)
        error = log_get_svarint(in, &difference);
    else if (!error)
        error = log_get_u8(in, &next->slot);
    if (error)
        return error;
    next->branches = branches >> 1;
    if (branches & SITE_MISS) {
        u64 rip = codec->rip + difference;

        next->slot = site_slot(rip);
        *predicted = *next; /* first: the new site may take over its slot */
        site_install(codec, next->slot, rip);
    } else {
        *predicted = *next;
        if (codec->sites[next->slot].generation != codec->generation)
            return ERR_INVALID;
    }
    return 0;
}

/* Decodes a position, and completes the prefix of a predicted event. */
static int get_position(struct log_codec *codec, struct log_cursor *in, u8 *prefix)
{
    struct log_successor next = {.prefix = *prefix & (u8)~PREFIX_FULL};
    int error = 0;

    if (next.prefix & PREFIX_KIND) {
        error = get_successor(codec, in, &next);
    } else {
        struct log_successor *predicted = &codec->sites[codec->slot].successor;

        if (next.prefix & ~PREFIX_BRANCHES || !predicted->prefix)
            return ERR_INVALID;
        if (next.prefix & PREFIX_BRANCHES)
            error = log_get_uvarint(in, &predicted->branches);
        next = *predicted;
        *prefix = (*prefix & PREFIX_FULL) | next.prefix;
    }
    if (error)
        return error;
    if (codec->branches + next.branches < next.branches)
        return ERR_INVALID;
    move_on(codec, &next);
    return 0;
}

int log_encode_event(struct log_codec *codec, const struct log_event *event, u8 *out, u32 *size)
{
    const u8 *start = out;
    bool full = event->full && !event->same_position;
    u8 prefix = event->kind | (event->async ? PREFIX_ASYNC : 0) | (full ? PREFIX_FULL : 0);

    if (!log_payload_valid(event->kind, &event->payload, event->data_len))
        return ERR_INVALID;
    if (!event->same_position &&
        (event->branches < codec->branches || event->branches - codec->branches >= BRANCHES_LIMIT))
        return ERR_INVALID;

    if (event->same_position) {
        out = log_put_u8(out, prefix | PREFIX_SAME);
    } else {
        out = put_position(codec, event, prefix, out);
        out = log_put_u16(out, log_position_check(&event->regs, event->out_crc));
        if (full)
            out = put_registers(codec, &event->regs, out);
    }
    out =
        log_encode_payload(codec, event->kind, &event->payload, event->data, event->data_len, out);
    *size = (u32)(out - start);
    return 0;
}

int log_decode_event(struct log_codec *codec, struct log_cursor *in, struct log_event *event)
{
    u8 prefix = 0;
    int error = log_get_u8(in, &prefix);

    if (!error && !(prefix & PREFIX_KIND && prefix & PREFIX_SAME))
        error = get_position(codec, in, &prefix);
    if (error)
        return error;
    event->kind = prefix & PREFIX_KIND;
    event->async = prefix & PREFIX_ASYNC;
    event->same_position = prefix & PREFIX_SAME;
    event->full = event->has_regs = prefix & PREFIX_FULL;
    event->out_crc = 0;
    event->check = 0;
    if (event->same_position && event->full)
        return ERR_INVALID;
    if (!event->same_position)
        error = log_get_u16(in, &event->check);
    if (!error && event->full)
        error = get_registers(codec, in, &event->regs);
    if (error)
        return error;
    event->branches = codec->branches;
    event->regs.rip = codec->rip;

    return log_decode_payload(codec, event->kind, in, &event->payload, &event->data,
                              &event->data_len);
}
