#include "link/requests.h"
#include "debug/run_state.h"
#include "replay/segment.h"

static u8 result_of_segment(struct link_exchange *e, int error, const char *why)
{
    if (error == 0)
        return LINK_RESULT_OK;
    link_reply_text(e, error == ERR_NO_SPACE ? "the log is too small for the guest's memory" : why);
    return error == ERR_NO_SPACE ? LINK_RESULT_NO_SPACE : LINK_RESULT_REFUSED;
}

/* Whether the guest stands between two instructions. */
static u8 check_boundary(const struct vcpu *vcpu, struct link_exchange *e)
{
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    if (run_state() == LINK_RUN_STATE_HALTED) {
        link_reply_text(e, "the run is over");
        return LINK_RESULT_REFUSED;
    }
    if (!segment_can_begin(vcpu)) {
        link_reply_text(e, "an interrupt is half delivered here, or the guest is halted: step");
        return LINK_RESULT_REFUSED;
    }
    return LINK_RESULT_OK;
}

u8 request_start_recording(void *context, struct link_exchange *e)
{
    u8 result = check_boundary(context, e);

    if (result != LINK_RESULT_OK)
        return result;
    return result_of_segment(e, segment_begin(context),
                             "a recording begins once, and on demand only: on-demand is the "
                             "monitor's word");
}

u8 request_stop_recording(void *context, struct link_exchange *e)
{
    u8 result = check_boundary(context, e);

    if (result != LINK_RESULT_OK)
        return result;
    return result_of_segment(e, segment_end_here(context), "nothing is being recorded");
}
