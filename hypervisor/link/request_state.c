#include "link/requests.h"
#include "arch/fpu.h"
#include "core/guest_memory.h"
#include "debug/memory.h"
#include "debug/registers.h"
#include "debug/run_state.h"
#include "lib/string.h"
#include "replay/session.h"

/* Whether the guest's state may be changed now. A recording has no place for a changed register,
 * and a replay none for any change. */
static u8 check_write(struct link_exchange *e, u8 flags, bool recordable)
{
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    if (run_state() == LINK_RUN_STATE_HALTED) {
        link_reply_text(e, "the run is over: its final state cannot be changed");
        return LINK_RESULT_REFUSED;
    }
    if (session_mode() == LOG_MODE_LIVE || (session_recording() && recordable))
        return LINK_RESULT_OK;
    if (!(flags & LINK_WRITE_FLAG_FORCE)) {
        link_reply_text(e, session_replaying()
                               ? "a write makes the replay another run"
                               : "a changed register is not recorded: no replay would match");
        return LINK_RESULT_REFUSED;
    }
    run_state_altered();
    return LINK_RESULT_OK;
}

u8 request_read_registers(void *context, struct link_exchange *e)
{
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    registers_read(context, e->reply);
    return LINK_RESULT_OK;
}

u8 request_write_register(void *context, struct link_exchange *e)
{
    struct link_write_register_request r;
    u8 result;

    memcpy(&r, e->request, sizeof(r));
    result = check_write(e, r.flags, false);
    if (result == LINK_RESULT_OK && registers_write(context, r.id, r.value) < 0) {
        link_reply_text(e, "this register cannot be set");
        return LINK_RESULT_UNSUPPORTED;
    }
    return result;
}

u8 request_read_fpu(void *context, struct link_exchange *e)
{
    struct link_read_fpu_reply reply;
    u64 xcr0;

    (void)context;
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    e->reply_size = fpu_read(e->reply_data, e->reply_room, &xcr0);
    reply.xcr0 = xcr0;
    memcpy(e->reply, &reply, sizeof(reply));
    return e->reply_size != 0 ? LINK_RESULT_OK : LINK_RESULT_UNSUPPORTED;
}

u8 request_write_fpu(void *context, struct link_exchange *e)
{
    struct link_write_fpu_request r;
    u8 result;

    (void)context;
    memcpy(&r, e->request, sizeof(r));
    result = check_write(e, r.flags, false);
    if (result == LINK_RESULT_OK && fpu_write(e->data, e->data_size) < 0) {
        link_reply_text(e, "no image that this CPU takes");
        return LINK_RESULT_BAD_REQUEST;
    }
    return result;
}

static enum debug_space space_of(u8 space)
{
    return space == LINK_MEMORY_SPACE_VIRTUAL ? DEBUG_VIRTUAL : DEBUG_PHYSICAL;
}

u8 request_read_memory(void *context, struct link_exchange *e)
{
    struct link_read_memory_request r;

    memcpy(&r, e->request, sizeof(r));
    if (r.length > LINK_DATA_MAX || r.space > LINK_MEMORY_SPACE_PHYSICAL)
        return LINK_RESULT_BAD_REQUEST;
    if (request_guest_runs())
        return LINK_RESULT_BUSY;
    e->reply_size = debug_read(context, space_of(r.space), r.address, e->reply_data, r.length);
    return e->reply_size == r.length ? LINK_RESULT_OK : LINK_RESULT_FAULT;
}

u8 request_write_memory(void *context, struct link_exchange *e)
{
    struct link_write_memory_request r;
    struct link_write_memory_reply reply;
    u8 result;

    memcpy(&r, e->request, sizeof(r));
    if (r.space > LINK_MEMORY_SPACE_PHYSICAL)
        return LINK_RESULT_BAD_REQUEST;
    result = check_write(e, r.flags, true);
    if (result != LINK_RESULT_OK)
        return result;
    reply.done = (u16)debug_write(context, space_of(r.space), r.address, e->data, e->data_size);
    memcpy(e->reply, &reply, sizeof(reply));
    return reply.done == e->data_size ? LINK_RESULT_OK : LINK_RESULT_FAULT;
}

/* Ranges of the guest's memory map that touch and are of one kind become one. */
u8 request_memory_map(void *context, struct link_exchange *e)
{
    struct link_memory_range *out = (struct link_memory_range *)e->reply_data;
    const struct memory_range *map;
    unsigned int count = guest_memory_e820(&map), used = 0;

    (void)context;
    for (unsigned int i = 0; i < count; i++) {
        u8 kind = map[i].type == MEMORY_RAM ? LINK_MEMORY_KIND_RAM : LINK_MEMORY_KIND_ROM;

        if (map[i].type == MEMORY_HIDDEN)
            continue;
        if (used != 0 && out[used - 1].end == map[i].base && out[used - 1].kind == kind)
            out[used - 1].end += map[i].length;
        else if ((used + 1) * sizeof(*out) <= e->reply_room)
            out[used++] =
                (struct link_memory_range){map[i].base, map[i].base + map[i].length, kind};
    }
    e->reply_size = used * (u32)sizeof(*out);
    return LINK_RESULT_OK;
}
