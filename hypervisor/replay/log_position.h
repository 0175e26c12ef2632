/* Where a stored event took place. */
#ifndef LVMM_REPLAY_LOG_POSITION_H
#define LVMM_REPLAY_LOG_POSITION_H

#include "replay/log_codec.h"

/* What is stored to tell a position from others that look alike. */
enum log_regs_stored {
    REGS_NONE,
    REGS_CHECK,
    REGS_FULL,  /* a check, and all registers */
    REGS_PLACE, /* of an asynchronous event: a check, RF and RCX */
};

/* Makes the position's site that of `rip`. A new one expects the last access anywhere. */
void log_enter_site(struct log_codec *codec, u64 rip);

/* Encodes branches and RIP of `now`, as far as they are not as expected, and goes there. Sets bits
 * of the token. */
u8 *log_put_position(struct log_codec *codec, u8 *token, u8 *out);
int log_get_position(struct log_codec *codec, u8 token, struct log_cursor *in);

/* What an event has of these; and what is expected of one at the site where the position is, or
 * will be: at `rip`. */
u8 log_regs_of(const struct log_event *event);
u8 log_usual_regs(const struct log_codec *codec, u8 prefix, u64 rip);

/* Encodes them, after the position. */
u8 *log_put_check(struct log_codec *codec, const struct log_event *event, u8 regs, u8 *out);
int log_get_check(struct log_codec *codec, struct log_cursor *in, u8 regs, struct log_event *event);

#endif
