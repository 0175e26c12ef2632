#include "link/requests.h"
#include "lib/string.h"
#include "replay/log_region.h"
#include "replay/session.h"

u8 request_read_console(void *context, struct link_exchange *e)
{
    struct link_read_console_request r;
    struct link_read_console_reply reply;
    u64 offset, end;
    u16 room;

    (void)context;
    memcpy(&r, e->request, sizeof(r));
    offset = r.offset;
    room = r.length < LINK_DATA_MAX ? r.length : LINK_DATA_MAX;
    e->reply_size = log_console_read(session_region(), &offset, e->reply_data, room, &end);
    reply.offset = offset;
    reply.end = end;
    memcpy(e->reply, &reply, sizeof(reply));
    return LINK_RESULT_OK;
}

u8 request_log_info(void *context, struct link_exchange *e)
{
    const struct log_region_header *region = session_region();
    struct link_log_info_reply reply;

    (void)context;
    reply.region_size = region->region_size;
    reply.used = region->chunks_offset + log_region_used(region);
    reply.state = region->state;
    memcpy(e->reply, &reply, sizeof(reply));
    return LINK_RESULT_OK;
}

u8 request_take_log(void *context, struct link_exchange *e)
{
    const struct log_region_header *region = session_region();
    struct link_take_log_request r;
    struct link_take_log_reply reply;

    (void)context;
    if (!session_recording()) {
        link_reply_text(e, "nothing is being recorded");
        return LINK_RESULT_REFUSED;
    }
    if (log_region_overwrites(region)) {
        link_reply_text(e,
                        "the log is a ring, which keeps the newest part: it is taken at the end");
        return LINK_RESULT_REFUSED;
    }
    memcpy(&r, e->request, sizeof(r));
    session_take(r.stored, r.flags & LINK_TAKE_FLAG_CLOSE);
    reply.start = region->taken;
    reply.offset = region->chunks_offset;
    reply.end = session_completed();
    reply.state = region->state;
    memcpy(e->reply, &reply, sizeof(reply));
    return LINK_RESULT_OK;
}

u8 request_read_log(void *context, struct link_exchange *e)
{
    struct link_read_log_request r;

    (void)context;
    memcpy(&r, e->request, sizeof(r));
    if (r.length > LINK_DATA_MAX)
        return LINK_RESULT_BAD_REQUEST;
    e->reply_size = log_region_read(session_region(), r.offset, e->reply_data, r.length);
    return LINK_RESULT_OK;
}
