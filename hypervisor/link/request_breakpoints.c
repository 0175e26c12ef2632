#include "link/requests.h"
#include "debug/breakpoints.h"
#include "lib/string.h"

u8 request_set_breakpoint(void *context, struct link_exchange *e)
{
    struct link_set_breakpoint_request r;
    struct link_set_breakpoint_reply reply = {0};
    u32 id = 0;
    u8 result;

    memcpy(&r, e->request, sizeof(r));
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    result = breakpoints_set(context, r.kind, r.address, r.length, &id);
    reply.id = id;
    memcpy(e->reply, &reply, sizeof(reply));
    return result;
}

u8 request_clear_breakpoint(void *context, struct link_exchange *e)
{
    struct link_clear_breakpoint_request r;

    (void)context;
    memcpy(&r, e->request, sizeof(r));
    return request_guest_runs() ? LINK_RESULT_BUSY : breakpoints_clear(r.id);
}

u8 request_clear_all(void *context, struct link_exchange *e)
{
    (void)context;
    (void)e;
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    breakpoints_clear_all();
    return LINK_RESULT_OK;
}
