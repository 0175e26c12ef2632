/* The first bytes of a stored event, and how many that were as predicted are in front of it. */
#ifndef LVMM_REPLAY_LOG_TOKEN_H
#define LVMM_REPLAY_LOG_TOKEN_H

#include "replay/log_codec.h"

#define TOKEN_SOURCE      0x03 /* which prediction it is told relative to; LOG_PREDICTIONS: none */
#define TOKEN_POSITION    0x0c
#define POSITION_EXPECTED 0x00
#define POSITION_BRANCHES 0x04 /* branches follow */
#define POSITION_SLOT     0x08 /* branches and the site's slot */
#define POSITION_RIP      0x0c /* branches and the difference to an earlier RIP */
#define TOKEN_PAYLOAD     0x10 /* the payload is not as expected */
#define TOKEN_RUN_SHIFT   5    /* how many events as predicted came before */
#define TOKEN_MORE        7    /* instead of that: in a byte that follows */
#define TOKEN_MAX         2    /* bytes */
#define MORE_REGS         0x03 /* of that byte: enum log_regs_stored */
#define MORE_RUN_SHIFT    2

/* What a token says. */
struct log_token {
    u8 bits;
    u8 regs; /* only if `regs_known`: others are as usual */
    bool regs_known;
};

/* Makes a prediction what the event is told relative to; LOG_PREDICTIONS: none. */
void log_expect(struct log_codec *codec, u8 source);

/* The bytes that a token takes, and the token. */
u32 log_token_size(const struct log_codec *codec, u8 regs, u8 usual_regs);
void log_put_token(struct log_codec *codec, u8 bits, u8 regs, u32 size, u8 *out);

/* Reads the first bytes of an event, and its prefix into `now`; for an event as predicted, which
 * has none, what they would say. Sets what is expected. */
int log_get_token(struct log_codec *codec, struct log_cursor *in, struct log_token *token);

#endif
