#include "replay/log_codec.h"

#include "lib/crc32c.h"
#include "replay/log_position.h"
#include "replay/log_predict.h"
#include "replay/log_token.h"

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

/* Whether an event can be told as another transfer behind the last one. */
static bool follows_transfer(const struct log_codec *codec, const struct log_event *event)
{
    return codec->transfers.head != NULL && event->kind == LOG_EVENT_DMA && event->same_position &&
           event->async == ((codec->now.prefix & LOG_PREFIX_ASYNC) != 0);
}

int log_encode_event(struct log_codec *codec, const struct log_event *event, u8 *out, u32 *size)
{
    bool known = event->same_position;
    u8 *start = out, token, regs;
    u32 head;

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
    log_expect(codec, token);
    regs = log_regs_of(event);
    head = log_token_size(codec, regs, log_usual_regs(codec, codec->now.prefix, codec->now.rip));
    out += head;
    if (!codec->expected)
        out = log_put_u8(out, codec->now.prefix);
    if (!known) {
        out = log_put_position(codec, &token, out);
        out = log_put_check(codec, event, regs, out);
    }

    const u8 *payload = out;

    codec->transfers.head = NULL;
    out =
        log_encode_payload(codec, event->kind, &event->payload, event->data, event->data_len, out);
    if (out != payload)
        token |= TOKEN_PAYLOAD;
    if (codec->expected && out == start + head && codec->run < LOG_EVENT_RUN_MAX &&
        token == log_predict_first(codec) && regs == REGS_NONE) {
        codec->run++;
        out = start;
    } else {
        log_put_token(codec, token, regs, head, start);
    }
    log_learn(codec, log_event_is_note(event->kind));
    *size = (u32)(out - start);
    return 0;
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
    struct log_token token;
    int error;

    if (log_transfer_follows(codec))
        return decode_next_transfer(codec, in, event);
    log_predict(codec);
    codec->now = (struct log_fact){.rip = codec->rip};
    error = log_get_token(codec, in, &token);
    if (error)
        return error;
    codec->stored = token.bits & TOKEN_PAYLOAD;
    set_flags(codec, event);
    if (codec->now.prefix >> 7)
        return ERR_INVALID;
    if (event->same_position) {
        error = token.bits & TOKEN_POSITION || token.regs ? ERR_INVALID : 0;
    } else {
        error = log_get_position(codec, token.bits, in);
        if (!token.regs_known)
            token.regs = log_usual_regs(codec, codec->now.prefix, codec->now.rip);
        if (!error)
            error = log_get_check(codec, in, token.regs, event);
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
