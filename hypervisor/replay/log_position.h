/* The first byte of a stored event, and where it took place. */
#ifndef LVMM_REPLAY_LOG_POSITION_H
#define LVMM_REPLAY_LOG_POSITION_H

#include "replay/log_codec.h"

#define TOKEN_SOURCE      0x03 /* which prediction it is told relative to; LOG_PREDICTIONS: none */
#define TOKEN_POSITION    0x0c
#define POSITION_EXPECTED 0x00
#define POSITION_BRANCHES 0x04 /* branches follow */
#define POSITION_SLOT     0x08 /* branches and the site's slot */
#define POSITION_RIP      0x0c /* branches and the difference to an earlier RIP */
#define TOKEN_PAYLOAD     0x10 /* the payload is not as expected */
#define TOKEN_REGS        0x60
#define REGS_USUAL        0x00 /* a check if it is asynchronous */
#define REGS_CHECK        0x20 /* a check; if it is asynchronous, then RF and RCX */
#define REGS_FULL         0x40 /* a check, and all registers */
#define REGS_NONE         0x60 /* no check, though it is asynchronous */
#define TOKEN_RUN         0x80 /* events as predicted came before: how many follows */

/* Makes the position's site that of `rip`. A new one expects the last access anywhere. */
void log_enter_site(struct log_codec *codec, u64 rip);

/* Encodes branches and RIP of `now`, as far as they are not as expected, and goes there. Sets bits
 * of the token. */
u8 *log_put_position(struct log_codec *codec, u8 *token, u8 *out);
int log_get_position(struct log_codec *codec, u8 token, struct log_cursor *in);

/* Encodes what tells the position from others that look alike. Sets bits of the token. */
u8 *log_put_check(struct log_codec *codec, const struct log_event *event, u8 *token, u8 *out);
int log_get_check(struct log_codec *codec, struct log_cursor *in, u8 token,
                  struct log_event *event);

#endif
