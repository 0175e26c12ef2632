/* Which event will come next, by what came after the last ones when they came before. */
#ifndef LVMM_REPLAY_LOG_PREDICT_H
#define LVMM_REPLAY_LOG_PREDICT_H

#include "replay/log_state.h"

/* Forgets all, at the beginning of a chunk. */
void log_predict_start(struct log_codec *codec);

/* Finds what followed the last events: sets `contexts`. */
void log_predict(struct log_codec *codec);

/* The number of the prediction that an event without a byte of its own is as, or LOG_PREDICTIONS.
 */
u8 log_predict_first(const struct log_codec *codec);

/* The number of the prediction that comes closest to `now`, or LOG_PREDICTIONS. */
u8 log_predict_best(const struct log_codec *codec);

/* Remembers that `now` followed, after log_predict(). `note`: its kind is a note. */
void log_learn(struct log_codec *codec, bool note);

#endif
