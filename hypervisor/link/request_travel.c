#include "link/requests.h"
#include "core/guest_time.h"
#include "debug/debugger.h"
#include "debug/run_state.h"
#include "debug/travel.h"
#include "lib/string.h"
#include "replay/session.h"

static struct link_position to_link(const struct run_position *p)
{
    return (struct link_position){
        .events = p->events, .branches = p->branches, .rip = p->rip, .check = p->check};
}

static struct run_position from_link(const struct link_position *p)
{
    return (struct run_position){p->events, p->branches, p->rip, p->check};
}

static struct link_checkpoint describe(unsigned int i)
{
    struct checkpoint_info info = checkpoint_info(i);

    return (struct link_checkpoint){.id = info.id, .pages = info.pages, .at = to_link(&info.at)};
}

/* Whether this is a replay that can go back, and the guest stands still. */
static u8 check(struct link_exchange *e)
{
    if (!checkpoints_on()) {
        link_reply_text(e, session_replaying() ? "this replay makes no checkpoints"
                                               : "only a replay can go back");
        return LINK_RESULT_UNSUPPORTED;
    }
    return request_guest_runs() ? LINK_RESULT_BUSY : LINK_RESULT_OK;
}

u8 request_position(void *context, struct link_exchange *e)
{
    struct link_position_reply *reply = e->reply;
    struct run_position here;

    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    here = run_position(context);
    reply->at = to_link(&here);
    reply->tsc = guest_time_now();
    return LINK_RESULT_OK;
}

u8 request_checkpoints(void *context, struct link_exchange *e)
{
    struct link_checkpoints_reply *reply = e->reply;
    struct link_checkpoint one;
    struct link_checkpoints_request r;
    u8 result = check(e);
    u64 used, room;

    (void)context;
    if (result != LINK_RESULT_OK)
        return result;
    memcpy(&r, e->request, sizeof(r));
    checkpoint_memory(&used, &room);
    reply->total = checkpoint_count();
    reply->used = used;
    reply->room = room;
    for (u32 i = r.first; i < checkpoint_count() && e->reply_size + sizeof(one) <= LINK_DATA_MAX;
         i++) {
        one = describe(i);
        memcpy(e->reply_data + e->reply_size, &one, sizeof(one));
        e->reply_size += (u32)sizeof(one);
    }
    return LINK_RESULT_OK;
}

u8 request_checkpoint(void *context, struct link_exchange *e)
{
    struct link_checkpoint made;
    u8 result = check(e);

    if (result != LINK_RESULT_OK)
        return result;
    if (checkpoint_take(context) < 0) {
        link_reply_text(e, "an interrupt or exception is being delivered here, or the guest waits "
                           "for one: step, then try again");
        return LINK_RESULT_REFUSED;
    }
    made = describe(checkpoint_count() - 1);
    memcpy(e->reply, &made, sizeof(made));
    return LINK_RESULT_OK;
}

u8 request_restore(void *context, struct link_exchange *e)
{
    struct link_restore_request r;
    u8 result = check(e);
    int error;

    (void)context;
    if (result != LINK_RESULT_OK)
        return result;
    memcpy(&r, e->request, sizeof(r));
    error = debugger_restore(r.id);
    if (error == ERR_FAULT)
        return LINK_RESULT_FAULT;
    if (error < 0) {
        link_reply_text(e, "the log or the CPU does not take the checkpoint's state any more");
        return LINK_RESULT_REFUSED;
    }
    run_state_status(e->reply);
    return LINK_RESULT_OK;
}

u8 request_run_to(void *context, struct link_exchange *e)
{
    struct link_run_to_request r;
    struct travel travel;

    (void)context;
    if (!session_replaying()) {
        link_reply_text(e, "only a replay can go to a position");
        return LINK_RESULT_UNSUPPORTED;
    }
    if (run_state() == LINK_RUN_STATE_HALTED) {
        link_reply_text(e, "the run is over: go back to a checkpoint first");
        return LINK_RESULT_REFUSED;
    }
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    memcpy(&r, e->request, sizeof(r));
    if (r.look_back > LINK_LOOK_BACK_STEPS)
        return LINK_RESULT_BAD_REQUEST;
    travel = (struct travel){from_link(&r.at), r.flags, r.look_back, r.steps_from};
    travel_begin(&travel);
    debugger_go(false);
    run_state_status(e->reply);
    return LINK_RESULT_OK;
}

u8 request_last_hit(void *context, struct link_exchange *e)
{
    const struct travel_hit *hit = travel_last_hit();
    struct link_last_hit_reply *reply = e->reply;

    (void)context;
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    reply->hits = hit->hits;
    reply->at = to_link(&hit->at);
    reply->reason = hit->reason;
    reply->breakpoint = hit->breakpoint;
    reply->after = hit->after;
    reply->address = hit->address;
    return LINK_RESULT_OK;
}

u8 request_page_changes(void *context, struct link_exchange *e)
{
    struct link_page_changes_request r;
    u8 result = check(e);

    (void)context;
    if (result != LINK_RESULT_OK)
        return result;
    memcpy(&r, e->request, sizeof(r));
    for (unsigned int i = 0; i < checkpoint_count(); i++) {
        u32 id = checkpoint_info(i).id;

        if (!checkpoint_changed(i, r.gpa) || e->reply_size + sizeof(id) > LINK_DATA_MAX)
            continue;
        memcpy(e->reply_data + e->reply_size, &id, sizeof(id));
        e->reply_size += (u32)sizeof(id);
    }
    return LINK_RESULT_OK;
}

u8 request_keep_checkpoints(void *context, struct link_exchange *e)
{
    struct link_keep_checkpoints_reply *reply = e->reply;
    u8 result = check(e);
    u64 size;
    int error;

    if (result != LINK_RESULT_OK)
        return result;
    error = checkpoints_keep(context, &size);
    if (error == ERR_NO_SPACE)
        return LINK_RESULT_NO_SPACE;
    if (error < 0) {
        link_reply_text(e, "the guest is not at the last checkpoint: go back to that first");
        return LINK_RESULT_REFUSED;
    }
    reply->address = (u64)checkpoints_memory();
    reply->size = size;
    return LINK_RESULT_OK;
}
