#include "replay/log_position.h"

#include "replay/log_token.h"

#define PLACE_RF        BIT(0)
#define PLACE_RCX       BIT(1)
#define SNAPSHOT_RFLAGS GPR_COUNT
#define RFLAGS_RF       BIT(16)

/* The site table's slot of an address: multiplicative hashing spreads neighbours. */
static u8 site_slot(u64 rip)
{
    return (u8)(rip * 0x9e3779b97f4a7c15ULL >> 56);
}

static bool site_holds(const struct log_codec *codec, u8 slot, u64 rip)
{
    const struct log_site *site = &codec->sites[slot];

    return site->generation == codec->generation && site->rip == rip;
}

void log_enter_site(struct log_codec *codec, u64 rip)
{
    u8 slot = site_slot(rip);
    struct log_site *site = &codec->sites[slot];

    if (!site_holds(codec, slot, rip)) {
        site->rip = rip;
        site->access = codec->access;
        site->value = 0;
        site->generation = codec->generation;
        site->unchecked = false;
        site->snapshot_generation = codec->generation - 1;
    }
    codec->slot = slot;
    codec->rip = codec->half_rip[rip >> 63] = rip;
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

u8 *log_put_position(struct log_codec *codec, u8 *token, u8 *out)
{
    const struct log_fact *now = &codec->now, *expected = codec->expected;
    u8 slot = site_slot(now->rip), half = now->rip >> 63;

    if (now->rip == (expected ? expected->rip : codec->rip)) {
        if (!expected || now->branches != expected->branches) {
            *token |= POSITION_BRANCHES;
            out = log_put_uvarint(out, now->branches);
        }
    } else if (site_holds(codec, slot, now->rip)) {
        *token |= POSITION_SLOT;
        out = log_put_uvarint(out, now->branches);
        out = log_put_u8(out, slot);
    } else {
        *token |= POSITION_RIP;
        out = log_put_uvarint(out, now->branches << 1 | half);
        out = log_put_svarint(out, now->rip - codec->half_rip[half]);
    }
    log_enter_site(codec, now->rip);
    codec->branches += now->branches;
    return out;
}

int log_get_position(struct log_codec *codec, u8 token, struct log_cursor *in)
{
    const struct log_fact *expected = codec->expected;
    struct log_fact *now = &codec->now;
    u64 difference = 0;
    u8 slot = 0;
    int error = 0;

    now->rip = expected ? expected->rip : codec->rip;
    if ((token & TOKEN_POSITION) != POSITION_EXPECTED)
        error = log_get_uvarint(in, &now->branches);
    else if (expected)
        now->branches = expected->branches;
    else
        error = ERR_INVALID;
    if (!error && (token & TOKEN_POSITION) == POSITION_SLOT) {
        error = log_get_u8(in, &slot);
        if (codec->sites[slot].generation != codec->generation)
            return ERR_INVALID;
        now->rip = codec->sites[slot].rip;
    } else if (!error && (token & TOKEN_POSITION) == POSITION_RIP) {
        error = log_get_svarint(in, &difference);
        now->rip = codec->half_rip[now->branches & 1] + difference;
        now->branches >>= 1;
    }
    if (error)
        return error;
    if (codec->branches + now->branches < now->branches)
        return ERR_INVALID;
    log_enter_site(codec, now->rip);
    codec->branches += now->branches;
    return 0;
}

u8 log_regs_of(const struct log_event *event)
{
    if (event->same_position)
        return REGS_NONE;
    if (event->full)
        return REGS_FULL;
    if (!event->has_check)
        return REGS_NONE;
    return event->async && event->place ? REGS_PLACE : REGS_CHECK;
}

u8 log_usual_regs(const struct log_codec *codec, u8 prefix, u64 rip)
{
    u8 slot = site_slot(rip);

    if (!(prefix & LOG_PREFIX_ASYNC) || prefix & LOG_PREFIX_SAME)
        return REGS_NONE;
    return site_holds(codec, slot, rip) && codec->sites[slot].unchecked ? REGS_NONE : REGS_CHECK;
}

u8 *log_put_check(struct log_codec *codec, const struct log_event *event, u8 regs, u8 *out)
{
    bool rcx = event->regs.gpr[GPR_RCX];
    bool rf = event->regs.rflags & RFLAGS_RF;

    if (event->async)
        codec->sites[codec->slot].unchecked = regs == REGS_NONE;
    if (regs == REGS_NONE)
        return out;
    out = log_put_u16(out, log_position_check(&event->regs, event->out_crc));
    if (regs == REGS_FULL)
        return put_registers(codec, &event->regs, out);
    if (regs == REGS_CHECK)
        return out;
    out = log_put_u8(out, (rcx ? PLACE_RCX : 0) | (rf ? PLACE_RF : 0));
    return rcx ? log_put_uvarint(out, event->regs.gpr[GPR_RCX]) : out;
}

static int get_place(struct log_cursor *in, struct log_regs *regs)
{
    u8 place = 0;
    int error = log_get_u8(in, &place);

    if (!error && place & ~(PLACE_RF | PLACE_RCX))
        return ERR_INVALID;
    regs->rflags = place & PLACE_RF ? RFLAGS_RF : 0;
    regs->gpr[GPR_RCX] = 0;
    if (!error && place & PLACE_RCX)
        error = log_get_uvarint(in, &regs->gpr[GPR_RCX]);
    return error;
}

int log_get_check(struct log_codec *codec, struct log_cursor *in, u8 regs, struct log_event *event)
{
    int error = 0;

    event->full = event->has_regs = regs == REGS_FULL;
    event->place = regs == REGS_PLACE;
    event->has_check = regs != REGS_NONE;
    if (event->async)
        codec->sites[codec->slot].unchecked = regs == REGS_NONE;
    else if (event->place)
        return ERR_INVALID;
    if (event->has_check)
        error = log_get_u16(in, &event->check);
    if (!error && event->full)
        error = get_registers(codec, in, &event->regs);
    else if (!error && event->place)
        error = get_place(in, &event->regs);
    return error;
}
