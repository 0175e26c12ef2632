#include "debug/commands.h"
#include "arch/fpu.h"
#include "board_config.h"
#include "core/guest_memory.h"
#include "debug/breakpoints.h"
#include "debug/debugger.h"
#include "debug/memory.h"
#include "debug/queries.h"
#include "debug/recording_commands.h"
#include "debug/registers.h"
#include "debug/travel_commands.h"
#include "lib/string.h"
#include "replay/log_region.h"
#include "replay/session.h"

_Static_assert((int)LINK_MODE_LIVE == (int)LOG_MODE_LIVE &&
                   (int)LINK_MODE_RECORD == (int)LOG_MODE_RECORD &&
                   (int)LINK_MODE_REPLAY == (int)LOG_MODE_REPLAY,
               "the link numbers the modes like the log");

static bool running(void)
{
    return debugger_state() == LINK_RUN_STATE_RUNNING;
}

/* Whether the guest's state may be changed now. A recording has no place for a changed register,
 * and a replay none for any change. */
static u8 check_write(struct link_exchange *e, u8 flags, bool recordable)
{
    if (running())
        return LINK_RESULT_BUSY;
    if (debugger_state() == LINK_RUN_STATE_HALTED) {
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
    debugger_altered();
    return LINK_RESULT_OK;
}

_Static_assert(sizeof(BOARD_NAME) <= sizeof(((struct link_hello_reply *)0)->board) &&
                   sizeof(LVMM_VERSION) <= sizeof(((struct link_hello_reply *)0)->monitor),
               "names fit");

static u8 hello(void *context, struct link_exchange *e)
{
    struct link_hello_reply *reply = e->reply;

    (void)context;
    reply->state = (u8)debugger_state();
    reply->mode = (u8)session_mode();
    memcpy(reply->board, BOARD_NAME, sizeof(BOARD_NAME));
    memcpy(reply->monitor, LVMM_VERSION, sizeof(LVMM_VERSION));
    return LINK_RESULT_OK;
}

static u8 status(void *context, struct link_exchange *e)
{
    (void)context;
    debugger_status(e->reply);
    return LINK_RESULT_OK;
}

static u8 interrupt(void *context, struct link_exchange *e)
{
    debugger_interrupt();
    return status(context, e);
}

static u8 go(void *context, struct link_exchange *e, bool step)
{
    if (debugger_state() == LINK_RUN_STATE_HALTED) {
        link_reply_text(e, "the run is over: it cannot go on");
        return LINK_RESULT_REFUSED;
    }
    if (running())
        return LINK_RESULT_BUSY;
    debugger_go(step);
    return status(context, e);
}

static u8 resume(void *context, struct link_exchange *e)
{
    return go(context, e, false);
}

static u8 step(void *context, struct link_exchange *e)
{
    return go(context, e, true);
}

static u8 read_registers(void *context, struct link_exchange *e)
{
    if (running())
        return LINK_RESULT_BUSY;
    registers_read(context, e->reply);
    return LINK_RESULT_OK;
}

static u8 write_register(void *context, struct link_exchange *e)
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

static u8 read_fpu(void *context, struct link_exchange *e)
{
    struct link_read_fpu_reply reply;
    u64 xcr0;

    (void)context;
    if (running())
        return LINK_RESULT_BUSY;
    e->reply_size = fpu_read(e->reply_data, e->reply_room, &xcr0);
    reply.xcr0 = xcr0;
    memcpy(e->reply, &reply, sizeof(reply));
    return e->reply_size != 0 ? LINK_RESULT_OK : LINK_RESULT_UNSUPPORTED;
}

static u8 write_fpu(void *context, struct link_exchange *e)
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

static u8 set_breakpoint(void *context, struct link_exchange *e)
{
    struct link_set_breakpoint_request r;
    struct link_set_breakpoint_reply reply = {0};
    u32 id = 0;
    u8 result;

    memcpy(&r, e->request, sizeof(r));
    if (running())
        return LINK_RESULT_BUSY;
    result = breakpoints_set(context, r.kind, r.address, r.length, &id);
    reply.id = id;
    memcpy(e->reply, &reply, sizeof(reply));
    return result;
}

static u8 clear_breakpoint(void *context, struct link_exchange *e)
{
    struct link_clear_breakpoint_request r;

    (void)context;
    memcpy(&r, e->request, sizeof(r));
    return running() ? LINK_RESULT_BUSY : breakpoints_clear(r.id);
}

static u8 clear_all(void *context, struct link_exchange *e)
{
    (void)context;
    (void)e;
    if (running())
        return LINK_RESULT_BUSY;
    breakpoints_clear_all();
    return LINK_RESULT_OK;
}

static u8 stop_run(void *context, struct link_exchange *e)
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

static u8 reset(void *context, struct link_exchange *e)
{
    (void)context;
    (void)e;
    debugger_reset_after_reply();
    return LINK_RESULT_OK;
}

static u8 query(void *context, struct link_exchange *e)
{
    struct link_query_request r;
    struct link_query_reply reply;
    const char *text;
    u32 size;

    memcpy(&r, e->request, sizeof(r));
    if (running() && r.kind == LINK_QUERY_KIND_TRANSLATE)
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

static enum debug_space space_of(u8 space)
{
    return space == LINK_MEMORY_SPACE_VIRTUAL ? DEBUG_VIRTUAL : DEBUG_PHYSICAL;
}

static u8 read_memory(void *context, struct link_exchange *e)
{
    struct link_read_memory_request r;

    memcpy(&r, e->request, sizeof(r));
    if (r.length > LINK_DATA_MAX || r.space > LINK_MEMORY_SPACE_PHYSICAL)
        return LINK_RESULT_BAD_REQUEST;
    if (running())
        return LINK_RESULT_BUSY;
    e->reply_size = debug_read(context, space_of(r.space), r.address, e->reply_data, r.length);
    return e->reply_size == r.length ? LINK_RESULT_OK : LINK_RESULT_FAULT;
}

static u8 write_memory(void *context, struct link_exchange *e)
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
static u8 memory_map(void *context, struct link_exchange *e)
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

static u8 read_console(void *context, struct link_exchange *e)
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

static u8 log_info(void *context, struct link_exchange *e)
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

static u8 take_log(void *context, struct link_exchange *e)
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

static u8 read_log(void *context, struct link_exchange *e)
{
    struct link_read_log_request r;

    (void)context;
    memcpy(&r, e->request, sizeof(r));
    if (r.length > LINK_DATA_MAX)
        return LINK_RESULT_BAD_REQUEST;
    e->reply_size = log_region_read(session_region(), r.offset, e->reply_data, r.length);
    return LINK_RESULT_OK;
}

const link_handler command_handlers[LINK_OPCODES] = {
    [LINK_OPCODE_HELLO] = hello,
    [LINK_OPCODE_STATUS] = status,
    [LINK_OPCODE_INTERRUPT] = interrupt,
    [LINK_OPCODE_RESUME] = resume,
    [LINK_OPCODE_STEP] = step,
    [LINK_OPCODE_READ_REGISTERS] = read_registers,
    [LINK_OPCODE_WRITE_REGISTER] = write_register,
    [LINK_OPCODE_READ_FPU] = read_fpu,
    [LINK_OPCODE_WRITE_FPU] = write_fpu,
    [LINK_OPCODE_SET_BREAKPOINT] = set_breakpoint,
    [LINK_OPCODE_CLEAR_BREAKPOINT] = clear_breakpoint,
    [LINK_OPCODE_CLEAR_ALL] = clear_all,
    [LINK_OPCODE_STOP_RUN] = stop_run,
    [LINK_OPCODE_RESET] = reset,
    [LINK_OPCODE_QUERY] = query,
    [LINK_OPCODE_READ_MEMORY] = read_memory,
    [LINK_OPCODE_WRITE_MEMORY] = write_memory,
    [LINK_OPCODE_READ_CONSOLE] = read_console,
    [LINK_OPCODE_MEMORY_MAP] = memory_map,
    [LINK_OPCODE_LOG_INFO] = log_info,
    [LINK_OPCODE_READ_LOG] = read_log,
    [LINK_OPCODE_TAKE_LOG] = take_log,
    [LINK_OPCODE_POSITION] = command_position,
    [LINK_OPCODE_CHECKPOINTS] = command_checkpoints,
    [LINK_OPCODE_CHECKPOINT] = command_checkpoint,
    [LINK_OPCODE_RESTORE] = command_restore,
    [LINK_OPCODE_RUN_TO] = command_run_to,
    [LINK_OPCODE_LAST_HIT] = command_last_hit,
    [LINK_OPCODE_PAGE_CHANGES] = command_page_changes,
    [LINK_OPCODE_START_RECORDING] = command_start_recording,
    [LINK_OPCODE_STOP_RECORDING] = command_stop_recording,
    [LINK_OPCODE_KEEP_CHECKPOINTS] = command_keep_checkpoints,
};
