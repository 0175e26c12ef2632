#include "replay/log_token.h"

#include "replay/log_position.h"
#include "replay/log_predict.h"

void log_expect(struct log_codec *codec, u8 source)
{
    codec->expected = source < LOG_PREDICTIONS ? &codec->contexts[source].next->fact : NULL;
}

u32 log_token_size(const struct log_codec *codec, u8 regs, u8 usual_regs)
{
    return codec->run < TOKEN_MORE && regs == usual_regs ? 1 : TOKEN_MAX;
}

void log_put_token(struct log_codec *codec, u8 bits, u8 regs, u32 size, u8 *out)
{
    out[0] = (u8)(bits | (size == 1 ? codec->run : TOKEN_MORE) << TOKEN_RUN_SHIFT);
    if (size > 1)
        out[1] = (u8)(regs | codec->run << MORE_RUN_SHIFT);
    codec->run = 0;
}

/* Whether the next event is as predicted, and not stored. `run`: how many such events the stored
 * one that comes next says to be in front of it. */
static int next_is_unstored(struct log_codec *codec, const struct log_cursor *in, u8 run)
{
    if (in->next == in->end)
        return codec->trailing++ < LOG_EVENT_RUN_MAX ? 1 : ERR_TRUNCATED;
    if (run && !codec->announced) {
        if (run > LOG_EVENT_RUN_MAX)
            return ERR_INVALID;
        codec->announced = true;
        codec->run = run;
    }
    if (codec->run) {
        codec->run--;
        return 1;
    }
    codec->announced = false;
    return 0;
}

int log_get_token(struct log_codec *codec, struct log_cursor *in, struct log_token *token)
{
    struct log_cursor stored = *in;
    u8 run = 0, source;
    int error = 0;

    *token = (struct log_token){0};
    if (stored.next != stored.end) {
        log_get_u8(&stored, &token->bits);
        run = token->bits >> TOKEN_RUN_SHIFT;
    }
    if (run == TOKEN_MORE) {
        error = log_get_u8(&stored, &run);
        token->regs = run & MORE_REGS;
        token->regs_known = true;
        run >>= MORE_RUN_SHIFT;
    }
    if (!error)
        error = next_is_unstored(codec, in, run);
    if (error < 0)
        return error;
    if (error)
        *token = (struct log_token){log_predict_first(codec), REGS_NONE, true};
    else
        *in = stored;
    source = token->bits & TOKEN_SOURCE;
    log_expect(codec, source);
    if (!codec->expected)
        return error ? ERR_INVALID : log_get_u8(in, &codec->now.prefix);
    codec->now.prefix = codec->expected->prefix;
    return codec->contexts[source].known ? 0 : ERR_INVALID;
}
