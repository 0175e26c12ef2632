/* Logging what enters the guest. */
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/position.h"
#include "replay/session_state.h"

/* How often an event stores all registers, so that a divergence can be told in values. */
#define FULL_INTERVAL 1024

/* How many events may come without a check, where none is needed for each. */
#define CHECK_INTERVAL 16

/* Whether the guest is where the last event was logged: not even an instruction that the monitor
 * executes for it came in between. Each of these changes RIP, or inside a REP RCX. */
static bool at_last_event(const struct vcpu *vcpu)
{
    return session.logged && vcpu->regs.rip == session.logged_rip &&
           vcpu->regs.gpr[GPR_RCX] == session.logged_rcx;
}

/* Whether in replay, which passes over notes, the event before is DMA at this very place, which
 * becomes visible at the same moment. */
static bool at_last_dma(const struct vcpu *vcpu, bool async)
{
    return session.logged_dma && session.logged_async == async && at_last_event(vcpu);
}

static void remember(const struct vcpu *vcpu, const struct log_event *e)
{
    if (log_event_is_note(e->kind) || e->kind == LOG_EVENT_CLOCK) {
        session.logged_dma = session.logged_dma && e->same_position;
        session.logged_interrupt = false;
    } else {
        session.logged_dma = e->kind == LOG_EVENT_DMA;
        session.logged_interrupt = e->kind == LOG_EVENT_INTERRUPT;
    }
    session.logged = true;
    if (!log_event_is_note(e->kind))
        session.logged_async = e->async;
    session.logged_rip = vcpu->regs.rip;
    session.logged_rcx = vcpu->regs.gpr[GPR_RCX];
}

/* Whether replay finds the position without a check: the guest comes to the monitor itself, by HLT,
 * and has come nowhere else with as many branches where an event is. */
static bool ends_halt(const struct vcpu *vcpu, const struct log_event *e)
{
    return (e->kind == LOG_EVENT_INTERRUPT || e->kind == LOG_EVENT_DMA) && vcpu->halted &&
           vcpu->branches != session.writer.branches;
}

/* Replay passes over notes, and compares nothing there. With the frequent kinds, too, the guest
 * itself comes to the monitor: the input that it asks for and its position are compared anyway. */
static bool needs_check(const struct vcpu *vcpu, const struct log_event *e)
{
    if (log_event_is_note(e->kind) || e->same_position)
        return false;
    if (e->has_check || e->full || session.events - session.last_check >= CHECK_INTERVAL)
        return true;
    if (e->async)
        return !ends_halt(vcpu, e);
    return e->kind != LOG_EVENT_DMA && !log_event_is_frequent(e->kind);
}

/* Keeps the guest waiting until a tool has taken the whole log. False: it does not come to that. */
static bool make_room(void)
{
    u64 room = log_writer_room(&session.writer);

    log_writer_rewind(&session.writer);
    while (session.serve != NULL && !session.ended && log_writer_room(&session.writer) <= room) {
        session.serve(); /* which calls session_take() */
        log_writer_rewind(&session.writer);
    }
    return !session.ended && log_writer_room(&session.writer) > room;
}

int record_event(struct vcpu *vcpu, struct log_event *e)
{
    int error;

    if (session.paused)
        return 0;
    e->branches = vcpu->branches;
    e->regs = vcpu->regs;
    e->out_crc = session.out_crc;
    e->full = e->full || session.events % FULL_INTERVAL == 0;
    if (e->same_position)
        e->full = false;
    e->has_check = needs_check(vcpu, e);
    if (e->has_check)
        session.last_check = session.events;
    error = log_write(&session.writer, e);
    if (error == ERR_NO_SPACE && e->kind != LOG_EVENT_END && make_room())
        error = log_write(&session.writer, e);
    if (error == ERR_NO_SPACE && e->kind != LOG_EVENT_END) {
        session_end(vcpu, LOG_END_REASON_LOG_FULL, true);
        return error;
    }
    if (error < 0) {
        printk("lvmm: event %lu (%s) cannot be logged (error %d)\n", session.events,
               log_event_name(e->kind), error);
        session_end(vcpu, LOG_END_REASON_MONITOR_ERROR, true);
        return error;
    }
    session_count_event(e->kind);
    remember(vcpu, e);
    return 0;
}

/* To find out whether an event needs its place takes a look at the guest's code. */
static void async_event(const struct vcpu *vcpu, struct log_event *e, u8 kind, bool same_position)
{
    session_event(e, kind);
    e->async = true;
    e->same_position = same_position;
    e->place = !same_position && position_needs_place(vcpu);
}

int session_record_interrupt(struct vcpu *vcpu, u8 vector)
{
    struct log_event e;

    async_event(vcpu, &e, LOG_EVENT_INTERRUPT, at_last_dma(vcpu, true));
    e.payload.interrupt = (struct log_interrupt){vector};
    return record_event(vcpu, &e);
}

int session_record_nmi(struct vcpu *vcpu)
{
    struct log_event e;

    async_event(vcpu, &e, LOG_EVENT_NMI, false);
    return record_event(vcpu, &e);
}

bool session_record_clock(struct vcpu *vcpu, u64 tsc)
{
    struct log_event e = {
        .kind = LOG_EVENT_CLOCK, .async = true, .same_position = true, .payload.clock.tsc = tsc};

    if (!at_last_event(vcpu) ||
        !((session.logged_dma && session.logged_async) || session.logged_interrupt))
        return false;
    return record_event(vcpu, &e) == 0;
}

int session_record_dma(struct vcpu *vcpu, enum session_moment moment, u8 stream, u64 gpa,
                       const void *data, u32 len)
{
    const struct log_dma transfer = {.stream = stream, .gpa = gpa};
    bool async = moment == SESSION_BETWEEN_INSTRUCTIONS;
    bool same_position = at_last_dma(vcpu, async);
    struct log_event e;

    if (same_position && !session.paused &&
        log_write_next_transfer(&session.writer, &transfer, data, len)) {
        session_count_event(LOG_EVENT_DMA);
        return 0;
    }
    if (async) {
        async_event(vcpu, &e, LOG_EVENT_DMA, same_position);
    } else {
        session_event(&e, LOG_EVENT_DMA);
        e.same_position = same_position;
        /* The guest's other writes to devices are no events: the check, which has all output in
         * it, says which of them this is. */
        e.has_check = moment == SESSION_AT_WRITE && !same_position;
    }
    e.payload.dma = transfer;
    e.data = data;
    e.data_len = len;
    return record_event(vcpu, &e);
}

int session_note(struct vcpu *vcpu, struct log_event *event)
{
    event->same_position = at_last_event(vcpu);
    return record_event(vcpu, event);
}

int session_note_in_new_chunk(struct vcpu *vcpu, struct log_event *event)
{
    log_flush(&session.writer);
    event->full = true;
    return record_event(vcpu, event);
}

void session_pause(bool pause)
{
    session.paused = pause;
    session.out_crc = 0;
}

bool session_paused(void)
{
    return session.paused;
}

void session_seal(struct vcpu *vcpu, u8 reason)
{
    session_end(vcpu, reason, false);
    session.ended = false;
    session.paused = true;
}

u64 session_room(void)
{
    return session.serve != NULL ? ~0ULL : log_writer_room(&session.writer);
}

void session_wait_for_room(void (*serve)(void))
{
    session.serve = serve;
}

void session_take(u64 stored, bool close)
{
    if (!session_recording())
        return;
    log_writer_taken(&session.writer, stored);
    if (session.ended)
        return; /* the end of the log stays in memory, to be looked at */
    log_writer_rewind(&session.writer);
    if (close)
        log_flush(&session.writer);
}

u64 session_completed(void)
{
    return session_recording() ? log_writer_completed(&session.writer) : 0;
}
