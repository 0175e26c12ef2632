#include "replay/segment.h"
#include "log_format.h"
#include "replay/epoch.h"
#include "replay/position.h"
#include "replay/session.h"
#include "replay/snapshot.h"

static bool over;

void segment_wait(void)
{
    session_pause(true);
}

bool segment_can_begin(const struct vcpu *vcpu)
{
    /* An epoch does not know that the guest is halted. A replay of a snapshot need not: the event
     * that wakes the guest is due where it begins. */
    return !vcpu->event.valid && !(epoch_on() && vcpu->halted);
}

int segment_begin(struct vcpu *vcpu)
{
    int error;

    if (!session_recording() || !session_paused() || over)
        return ERR_INVALID;
    if (!epoch_on() && snapshot_size() > session_room())
        return ERR_NO_SPACE;
    session_pause(false);
    if (epoch_on())
        return epoch_begin(vcpu);
    error = snapshot_record(vcpu);
    if (error == ERR_UNSUPPORTED)
        session_pause(true);
    hv_flush_guest_tlb(); /* a replay begins with an empty one */
    return error;
}

/* What the guest does not ask for itself is due at a position in a replay: see session_apply_due().
 */
static int end(struct vcpu *vcpu, bool async)
{
    struct log_event e = {
        .kind = LOG_EVENT_CONTENT, .async = async, .place = async && position_needs_place(vcpu)};
    struct log_content here = {snapshot_memory_crc(), session_console_bytes()};
    int error;

    if (session_mode() == LOG_MODE_LIVE || session_paused())
        return ERR_INVALID;
    e.payload.content = here;
    error = session_input(vcpu, &e);
    if (error < 0)
        return error;
    /* What a ring holds is read with the memory of its end: there the guest must not run on. */
    if (epoch_on()) {
        session_end(vcpu, LOG_END_REASON_GUEST_STOP, false);
        return 0;
    }
    if (session_recording()) {
        session_seal(vcpu, LOG_END_REASON_GUEST_STOP);
        over = true;
        return 0;
    }
    if (e.payload.content.memory_crc32c != here.memory_crc32c)
        session_diverged(vcpu, "the guest's memory differs", NULL);
    else if (e.payload.content.console_bytes != here.console_bytes)
        session_diverged(vcpu, "the amount of console output differs", NULL);
    session_end(vcpu, LOG_END_REASON_GUEST_STOP, false);
    return 0;
}

int segment_end(struct vcpu *vcpu)
{
    return end(vcpu, false);
}

int segment_end_here(struct vcpu *vcpu)
{
    return session_recording() ? end(vcpu, true) : ERR_INVALID;
}
