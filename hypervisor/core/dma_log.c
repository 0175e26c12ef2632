#include "core/dma_log.h"
#include "arch/cpu.h"
#include "core/guest_time.h"
#include "core/triggers.h"
#include "dma/dma.h"
#include "replay/session.h"

static enum session_moment now;
static bool transferred; /* something was logged that has no time yet */

_Static_assert(DMA_SENT_FIRST == LOG_SENT_FLAG_FIRST && DMA_SENT_LAST == LOG_SENT_FLAG_LAST &&
                   DMA_SENT_SEGMENTED == LOG_SENT_FLAG_SEGMENTED,
               "the engine's flags are the log's");

static bool wanted(void)
{
    return session_recording() && !session_ended();
}

void dma_log_at(enum session_moment moment)
{
    now = moment;
}

void dma_log_write(struct vcpu *vcpu, u8 stream, u64 gpa, const void *data, u32 len)
{
    if (!wanted())
        return;
    session_record_dma(vcpu, now, stream, gpa, data, len);
    transferred = true;
}

void dma_log_payload(struct vcpu *vcpu, u8 stream, u64 gpa, const void *data, u32 len)
{
    if (wanted())
        triggers_packet(vcpu, data, len);
    dma_log_write(vcpu, stream, gpa, data, len);
}

int dma_log_sent(struct vcpu *vcpu, u8 stream, u8 flags, u32 length, const void *data, u32 len)
{
    struct log_event e = {
        .kind = LOG_EVENT_SENT,
        .payload.sent = {stream, flags, length},
        .data = data,
        .data_len = len,
    };

    if (!wanted())
        return ERR_END;
    transferred = true;
    return session_note(vcpu, &e);
}

void dma_log_time(struct vcpu *vcpu)
{
    struct log_event e;

    if (!transferred)
        return;
    transferred = false;
    session_event(&e, LOG_EVENT_TIME);
    e.payload.time.tsc = log_ticks(rdtsc());
    if (wanted() && !guest_time_catch_up(vcpu))
        session_note(vcpu, &e);
}
