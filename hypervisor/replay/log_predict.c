#include "replay/log_predict.h"

/* Multiplicative hashing: odd numbers without a pattern. */
#define SPREAD       0x9e3779b97f4a7c15ULL
#define SPREAD_OTHER 0xc2b2ae3d27d4eb4fULL

/* The place for a key in a table of `slots` (a power of two, at most 2^16). */
static struct log_context context_of(const struct log_codec *codec, struct log_next *table,
                                     u32 slots, u64 key)
{
    u64 hash = key * SPREAD;
    struct log_next *next = &table[hash >> 48 & (slots - 1)];
    u32 tag = (u32)(hash >> 16);

    return (struct log_context){next, tag,
                                next->generation == codec->generation && next->tag == tag};
}

static void forget(struct log_next *table, u32 slots)
{
    for (u32 i = 0; i < slots; i++)
        table[i].generation = 0;
}

void log_predict_start(struct log_codec *codec)
{
    /* A generation used before must not come back while something of it is there. */
    if (++codec->generation == 0) {
        for (unsigned i = 0; i < LOG_SITES; i++)
            codec->sites[i].generation = codec->sites[i].snapshot_generation = 0;
        for (unsigned i = 0; i < LOG_STREAMS; i++)
            codec->streams[i].generation = 0;
        forget(codec->by_history, LOG_LONG_SLOTS);
        forget(codec->by_last, LOG_SHORT_SLOTS);
        forget(codec->by_async, LOG_ASYNC_SLOTS);
        codec->generation = 1;
    }
    for (unsigned i = 0; i < LOG_HISTORY; i++)
        codec->history[i] = 0;
    codec->async_history = 0;
}

void log_predict(struct log_codec *codec)
{
    u64 key = 0;

    for (unsigned i = LOG_HISTORY; i-- > 0;)
        key = key * SPREAD_OTHER + codec->history[i];
    codec->contexts[0] = context_of(codec, codec->by_history, LOG_LONG_SLOTS, key);
    codec->contexts[1] = context_of(codec, codec->by_last, LOG_SHORT_SLOTS, codec->history[0]);
    codec->contexts[2] = context_of(codec, codec->by_async, LOG_ASYNC_SLOTS, codec->async_history);
}

u8 log_predict_first(const struct log_codec *codec)
{
    u8 i = 0;

    while (i < LOG_PREDICTIONS && !codec->contexts[i].known)
        i++;
    return i;
}

u8 log_predict_best(const struct log_codec *codec)
{
    const struct log_fact *now = &codec->now;
    unsigned best_score = 0;
    u8 best = LOG_PREDICTIONS;

    for (u8 i = 0; i < LOG_PREDICTIONS; i++) {
        const struct log_fact *fact = &codec->contexts[i].next->fact;
        unsigned score = 1;

        if (!codec->contexts[i].known || fact->prefix != now->prefix)
            continue;
        if (fact->rip == now->rip)
            score += fact->branches == now->branches ? 2 : 1;
        if (score > best_score) {
            best_score = score;
            best = i;
        }
    }
    return best;
}

/* What an event is known by afterwards. Where an asynchronous event came is chance. */
static u64 mark_of(const struct log_fact *fact, bool note)
{
    u64 mark = fact->prefix;

    if (note)
        return mark;
    if (fact->prefix & (LOG_PREFIX_SAME | LOG_PREFIX_ASYNC))
        return mark | (u64)fact->sub << 8;
    return (fact->rip * SPREAD ^ fact->access) * SPREAD_OTHER + mark;
}

/* One event of another kind does not change what is predicted: an interrupt may have come between.
 */
static void learn(const struct log_codec *codec, const struct log_context *context)
{
    struct log_next *next = context->next;

    if (context->known && !next->doubted && next->fact.prefix != codec->now.prefix) {
        next->doubted = true;
        return;
    }
    *next = (struct log_next){context->tag, codec->generation, false, codec->now};
}

void log_learn(struct log_codec *codec, bool note)
{
    u64 mark = mark_of(&codec->now, note);

    learn(codec, &codec->contexts[0]);
    learn(codec, &codec->contexts[1]);
    if (codec->now.prefix & LOG_PREFIX_ASYNC) {
        learn(codec, &codec->contexts[2]);
        codec->async_history = mark;
    }
    for (unsigned i = LOG_HISTORY - 1; i > 0; i--)
        codec->history[i] = codec->history[i - 1];
    codec->history[0] = mark;
}
