#include "link/requests.h"
#include "board_config.h"
#include "debug/debugger.h"
#include "debug/run_state.h"
#include "lib/string.h"
#include "link/query_texts.h"
#include "replay/session.h"

_Static_assert((int)LINK_MODE_LIVE == (int)LOG_MODE_LIVE &&
                   (int)LINK_MODE_RECORD == (int)LOG_MODE_RECORD &&
                   (int)LINK_MODE_REPLAY == (int)LOG_MODE_REPLAY,
               "the link numbers the modes like the log");

_Static_assert(sizeof(BOARD_NAME) <= sizeof(((struct link_hello_reply *)0)->board) &&
                   sizeof(LVMM_VERSION) <= sizeof(((struct link_hello_reply *)0)->monitor),
               "names fit");

bool request_guest_runs(void)
{
    return run_state() == LINK_RUN_STATE_RUNNING;
}

u8 request_hello(void *context, struct link_exchange *e)
{
    struct link_hello_reply *reply = e->reply;

    (void)context;
    reply->state = (u8)run_state();
    reply->mode = (u8)session_mode();
    memcpy(reply->board, BOARD_NAME, sizeof(BOARD_NAME));
    memcpy(reply->monitor, LVMM_VERSION, sizeof(LVMM_VERSION));
    return LINK_RESULT_OK;
}

u8 request_status(void *context, struct link_exchange *e)
{
    (void)context;
    run_state_status(e->reply);
    return LINK_RESULT_OK;
}

u8 request_interrupt(void *context, struct link_exchange *e)
{
    run_state_break_in();
    return request_status(context, e);
}

static u8 go(void *context, struct link_exchange *e, bool step)
{
    if (run_state() == LINK_RUN_STATE_HALTED) {
        link_reply_text(e, "the run is over: it cannot go on");
        return LINK_RESULT_REFUSED;
    }
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    debugger_go(step);
    return request_status(context, e);
}

u8 request_resume(void *context, struct link_exchange *e)
{
    return go(context, e, false);
}

u8 request_step(void *context, struct link_exchange *e)
{
    return go(context, e, true);
}

u8 request_stop_run(void *context, struct link_exchange *e)
{
    (void)e;
    if (session_ended())
        return LINK_RESULT_OK;
    if (session_replaying())
        session_diverged(context, "stopped by the user", NULL);
    else
        session_end(context, LOG_END_REASON_STOPPED, true);
    return LINK_RESULT_OK;
}

u8 request_reset(void *context, struct link_exchange *e)
{
    (void)context;
    (void)e;
    run_state_reset_after_reply();
    return LINK_RESULT_OK;
}

u8 request_query(void *context, struct link_exchange *e)
{
    struct link_query_request r;
    struct link_query_reply reply;
    const char *text;
    u32 size;

    memcpy(&r, e->request, sizeof(r));
    if (request_guest_runs() && r.kind == LINK_QUERY_KIND_TRANSLATE)
        return LINK_RESULT_BUSY;
    text = r.offset == 0 ? query_text(context, r.kind, r.argument, &size) : query_last_text(&size);
    reply.total = size;
    memcpy(e->reply, &reply, sizeof(reply));
    if (r.offset < size) {
        u32 rest = size - r.offset;

        e->reply_size = rest < LINK_DATA_MAX ? rest : LINK_DATA_MAX;
        memcpy(e->reply_data, text + r.offset, e->reply_size);
    }
    return size != 0 ? LINK_RESULT_OK : LINK_RESULT_UNSUPPORTED;
}
