#include "replay/log_codec.h"

#include "lib/crc32c.h"
#include "replay/log_position.h"
#include "replay/log_predict.h"

#define BRANCHES_LIMIT BIT(63)

u16 log_position_check(const struct log_regs *regs, u32 out_crc)
{
    struct log_regs checked = *regs;

    checked.rflags &= ~LOG_RFLAGS_UNCHECKED;
    return (u16)crc32c(crc32c(0, &checked, sizeof(checked)), &out_crc, sizeof(out_crc));
}

void log_codec_start(struct log_codec *codec, u64 first_branches, u64 first_rip)
{
    log_predict_start(codec);
    codec->last_snapshot = LOG_SNAPSHOT_NONE;
    codec->branches = first_branches;
    codec->tsc = 0;
    codec->access = 0;
    codec->run = codec->trailing = 0;
    codec->announced = false;
    codec->half_rip[0] = codec->half_rip[1] = first_rip;
    codec->transfers = (struct log_transfers){.head = NULL};
    __builtin_memset(codec->sent, 0, sizeof(codec->sent));
    log_enter_site(codec, first_rip);
}

static void expect(struct log_codec *codec, u8 source)
{
    codec->expected = source < LOG_PREDICTIONS ? &codec->contexts[source].next->fact : NULL;
}

/* Whether an event can be told as another transfer behind the last one. */
static bool follows_transfer(const struct log_codec *codec, const struct log_event *event)
{
    return codec->transfers.head != NULL && event->kind == LOG_EVENT_DMA && event->same_position &&
           event->async == ((codec->now.prefix & LOG_PREFIX_ASYNC) != 0);
}

int log_encode_event(struct log_codec *codec, const struct log_event *event, u8 *out, u32 *size)
{
    u8 *start = out;
    bool known = event->same_position;
    u8 token;

    if (!log_payload_valid(event->kind, &event->payload, event->data_len))
        return ERR_INVALID;
    if (follows_transfer(codec, event)) {
        out = log_put_next_transfer(codec, out, event->payload.dma.stream, event->payload.dma.gpa,
                                    event->data, event->data_len);
        *size = (u32)(out - start);
        return 0;
    }
    if (!known &&
        (event->branches < codec->branches || event->branches - codec->branches >= BRANCHES_LIMIT))
        return ERR_INVALID;

    log_predict(codec);
    codec->now = (struct log_fact){
        .branches = known ? 0 : event->branches - codec->branches,
        .rip = known ? codec->rip : event->regs.rip,
        .prefix =
            event->kind | (event->async ? LOG_PREFIX_ASYNC : 0) | (known ? LOG_PREFIX_SAME : 0),
    };
    token = log_predict_best(codec);
    expect(codec, token);
    out += codec->run ? 2 : 1;
    if (!codec->expected)
        out = log_put_u8(out, codec->now.prefix);
    if (!known) {
        out = log_put_position(codec, &token, out);
        out = log_put_check(codec, event, &token, out);
    }

    const u8 *payload = out;

    codec->transfers.head = NULL;
    out =
        log_encode_payload(codec, event->kind, &event->payload, event->data, event->data_len, out);
    if (out != payload)
        token |= TOKEN_PAYLOAD;
    if (codec->expected && out - start == (codec->run ? 2 : 1) && codec->run < LOG_EVENT_RUN_MAX &&
        token == log_predict_first(codec)) {
        codec->run++;
        out = start;
    } else {
        if (codec->run)
            start[1] = codec->run;
        start[0] = token | (codec->run ? TOKEN_RUN : 0);
        codec->run = 0;
    }
    log_learn(codec, log_event_is_note(event->kind));
    *size = (u32)(out - start);
    return 0;
}

/* Whether the next event is as predicted, and not stored: then *token is what it would be. */
static int next_is_unstored(struct log_codec *codec, const struct log_cursor *in, u8 *token)
{
    size_t left = (size_t)(in->end - in->next);

    if (!left) {
        if (codec->trailing++ >= LOG_EVENT_RUN_MAX)
            return ERR_TRUNCATED;
    } else if (!codec->announced && in->next[0] & TOKEN_RUN) {
        if (left < 2)
            return ERR_TRUNCATED;
        if (!in->next[1] || in->next[1] > LOG_EVENT_RUN_MAX)
            return ERR_INVALID;
        codec->announced = true;
        codec->run = in->next[1] - 1;
    } else if (codec->run) {
        codec->run--;
    } else {
        return 0;
    }
    *token = log_predict_first(codec);
    return *token < LOG_PREDICTIONS ? 1 : ERR_INVALID;
}

/* Reads the first bytes of an event, into *token and the prefix of `now`. */
static int get_token(struct log_codec *codec, struct log_cursor *in, u8 *token)
{
    int error = next_is_unstored(codec, in, token);
    u8 run;

    if (!error) {
        codec->announced = false;
        error = log_get_u8(in, token);
        if (!error && *token & TOKEN_RUN)
            error = log_get_u8(in, &run);
    }
    if (error < 0)
        return error;
    expect(codec, *token & TOKEN_SOURCE);
    if (!codec->expected)
        return log_get_u8(in, &codec->now.prefix);
    codec->now.prefix = codec->expected->prefix;
    return codec->contexts[*token & TOKEN_SOURCE].known ? 0 : ERR_INVALID;
}

static void set_flags(const struct log_codec *codec, struct log_event *event)
{
    event->kind = codec->now.prefix & LOG_PREFIX_KIND;
    event->async = codec->now.prefix & LOG_PREFIX_ASYNC;
    event->same_position = codec->now.prefix & LOG_PREFIX_SAME;
    event->full = event->place = event->has_regs = event->has_check = false;
    event->out_crc = 0;
    event->check = 0;
}

static int decode_next_transfer(struct log_codec *codec, struct log_cursor *in,
                                struct log_event *event)
{
    struct log_dma *dma = &event->payload.dma;
    int error =
        log_get_next_transfer(codec, in, &dma->stream, &dma->gpa, &event->data, &event->data_len);

    set_flags(codec, event);
    event->same_position = true;
    event->branches = codec->branches;
    event->regs.rip = codec->rip;
    if (!error && !log_payload_valid(event->kind, &event->payload, event->data_len))
        return ERR_INVALID;
    return error;
}

int log_decode_event(struct log_codec *codec, struct log_cursor *in, struct log_event *event)
{
    u8 token = 0;
    int error;

    if (log_transfer_follows(codec))
        return decode_next_transfer(codec, in, event);
    log_predict(codec);
    codec->now = (struct log_fact){.rip = codec->rip};
    error = get_token(codec, in, &token);
    if (error)
        return error;
    codec->stored = token & TOKEN_PAYLOAD;
    set_flags(codec, event);
    if (codec->now.prefix >> 7)
        return ERR_INVALID;
    if (event->same_position) {
        error = token & (TOKEN_POSITION | TOKEN_REGS) ? ERR_INVALID : 0;
    } else {
        error = log_get_position(codec, token, in);
        if (!error)
            error = log_get_check(codec, in, token, event);
    }
    if (error)
        return error;
    event->branches = codec->branches;
    event->regs.rip = codec->rip;
    if (!codec->stored && !log_payload_may_be_absent(event->kind, codec->expected != NULL))
        return ERR_INVALID;
    error =
        log_decode_payload(codec, event->kind, in, &event->payload, &event->data, &event->data_len);
    if (!error)
        log_learn(codec, log_event_is_note(event->kind));
    return error;
}
