#include "replay/session.h"
#include "arch/msr_index.h"
#include "core/cpu_state.h"
#include "core/guest_memory.h"
#include "debug/debugger.h"
#include "lib/crc32c.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/divergence.h"
#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "replay/position.h"

/* In a region that is smaller than this, so is the ring of console output. */
#define SMALL_REGION  0x400000
#define SMALL_CONSOLE 0x10000

/* How often an event stores all registers, so that a divergence can be told in values. */
#define FULL_INTERVAL 64

static struct {
    u32 mode;
    void *region;
    struct log_writer writer;
    struct log_reader reader;
    struct log_event next; /* replay: the next event, valid if have_next */
    bool have_next;
    bool paused;         /* record: nothing is logged now */
    void (*serve)(void); /* record: called while the log is full; NULL: the recording ends then */
    u64 console_before;  /* replay: console bytes that the guest put out before the recording */
    bool ended;
    u8 end_reason;
    bool diverged;
    u32 out_crc;
    u64 events;
    u64 events_by_kind[SESSION_EVENT_KINDS];
    bool logged;                 /* record: an event was logged at this exit, */
    bool logged_dma;             /* and the last one that is no note was DMA */
    struct log_regs logged_regs; /* at the last event */
} session;

int session_open(u32 mode, void *region, u64 region_size, const void *log, u64 log_size)
{
    u64 tsc;
    struct log_region_params params = {.mode = mode};
    int error;

    __asm__ volatile("rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %0" : "=a"(tsc) : : "rdx");
    if (region_size < SMALL_REGION)
        params.console_size = SMALL_CONSOLE;
    params.recording_id = tsc * 0x9e3779b97f4a7c15ULL;
    session.mode = mode;
    session.region = region;
    error = log_region_format(region, region_size, &params);
    if (error < 0) {
        printk("lvmm: the log region of %lu bytes cannot be formatted (error %d)\n", region_size,
               error);
        return error;
    }
    if (mode == LOG_MODE_RECORD)
        return log_writer_open(&session.writer, region);
    if (mode == LOG_MODE_REPLAY) {
        log_region_set_state(region, LOG_REGION_STATE_REPLAYING);
        error = log_reader_open(&session.reader, log, log_size);
        if (error < 0)
            printk("lvmm: the log cannot be read: %s\n",
                   error == ERR_VERSION    ? "it is of another format version"
                   : error == ERR_CHECKSUM ? "its header is damaged (CRC-32C)"
                                           : "it is no lvmm recording, or cut off");
    }
    return error;
}

static void count_event(u8 kind)
{
    session.events++;
    session.events_by_kind[kind]++;
}

static void read_next(void)
{
    int result = log_read(&session.reader, &session.next);

    while (result > 0 && log_event_is_note(session.next.kind)) {
        count_event(session.next.kind);
        result = log_read(&session.reader, &session.next);
    }
    session.have_next = result > 0;
    if (result < 0 && result != ERR_END)
        printk("lvmm: the log is damaged after event %lu (error %d)\n", session.events, result);
}

static int check_header(const struct log_recording_header *here)
{
    const struct log_recording_header *then = &session.reader.header;

    if (then->machine.guest_memory_bytes != here->machine.guest_memory_bytes) {
        printk("lvmm: recorded with %lu bytes of guest memory, this run has %lu\n",
               then->machine.guest_memory_bytes, here->machine.guest_memory_bytes);
        return ERR_INVALID;
    }
    if (then->images_count != here->images_count ||
        memcmp(then->images, here->images, here->images_count * sizeof(*here->images)) != 0) {
        printk("lvmm: the guest's images are not those that were recorded\n");
        return ERR_INVALID;
    }
    if (then->command_line.length != here->command_line.length ||
        memcmp(then->command_line.text, here->command_line.text, then->command_line.length) != 0) {
        printk("lvmm: the guest's command line is not the one that was recorded\n");
        return ERR_INVALID;
    }
    return 0;
}

int session_start(const struct log_recording_header *header)
{
    if (session_recording())
        return log_write_header(&session.writer, header);
    if (session_replaying()) {
        if (check_header(header) < 0)
            return ERR_INVALID;
        read_next();
    }
    return 0;
}

u32 session_mode(void)
{
    return session.mode;
}

bool session_recording(void)
{
    return session.mode == LOG_MODE_RECORD;
}

bool session_replaying(void)
{
    return session.mode == LOG_MODE_REPLAY;
}

const struct log_recording_header *session_header(void)
{
    return &session.reader.header;
}

/* RF is no part of a position: the CPU sets it in the image that an exit saves inside a REP, and
 * whether a single-step exit does so too differs between CPUs. It is cleared at injection. The log
 * has it in full registers nevertheless, because a breakpoint cannot find a position with RF set.
 */
static struct log_regs position_regs(const struct log_regs *from)
{
    struct log_regs regs = *from;

    regs.rflags &= ~RFLAGS_RF;
    return regs;
}

/* Whether the guest is where the last event was logged: not even an instruction that the monitor
 * executes for it came in between. */
static bool at_last_event(const struct vcpu *vcpu)
{
    return session.logged && memcmp(&vcpu->regs, &session.logged_regs, sizeof(vcpu->regs)) == 0;
}

/* Whether in replay, which passes over notes, the event before is DMA at this very place. */
static bool at_last_dma(const struct vcpu *vcpu)
{
    return session.logged_dma && at_last_event(vcpu);
}

static void remember(const struct vcpu *vcpu, const struct log_event *e)
{
    if (log_event_is_note(e->kind))
        session.logged_dma = session.logged_dma && e->same_position;
    else
        session.logged_dma = e->kind == LOG_EVENT_DMA;
    session.logged = true;
    session.logged_regs = vcpu->regs;
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

static int record(struct vcpu *vcpu, struct log_event *e)
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
    count_event(e->kind);
    remember(vcpu, e);
    return 0;
}

static bool registers_match(const struct vcpu *vcpu, const struct log_event *e)
{
    struct log_regs regs = position_regs(&vcpu->regs), then = position_regs(&e->regs);

    if (e->has_regs && memcmp(&regs, &then, sizeof(regs)) != 0)
        return false;
    return log_position_check(&regs, session.out_crc) == e->check;
}

bool session_at(const struct vcpu *vcpu, const struct log_event *e)
{
    return vcpu->branches == e->branches && vcpu->regs.rip == e->regs.rip &&
           registers_match(vcpu, e);
}

/* What identifies an input must be the same in the log. */
static bool same_input(const struct log_event *a, const struct log_event *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case LOG_EVENT_IN:
        return a->payload.in.port == b->payload.in.port && a->payload.in.size == b->payload.in.size;
    case LOG_EVENT_MMIO_READ:
        return a->payload.mmio_read.gpa == b->payload.mmio_read.gpa &&
               a->payload.mmio_read.size == b->payload.mmio_read.size;
    case LOG_EVENT_RDMSR:
        return a->payload.rdmsr.index == b->payload.rdmsr.index;
    case LOG_EVENT_RDRAND:
        return a->payload.rdrand.size == b->payload.rdrand.size;
    case LOG_EVENT_RDSEED:
        return a->payload.rdseed.size == b->payload.rdseed.size;
    case LOG_EVENT_FIRMWARE_PAGE:
        return a->payload.firmware_page.gpa == b->payload.firmware_page.gpa;
    case LOG_EVENT_TASK:
        if (a->payload.task.number != b->payload.task.number)
            return false;
        /* fall through */
    case LOG_EVENT_MARK: /* the guest's text is no input: it must come out the same */
        return a->data_len == b->data_len && memcmp(a->data, b->data, a->data_len) == 0;
    default:
        return true;
    }
}

int session_input(struct vcpu *vcpu, struct log_event *event)
{
    if (session_recording())
        return record(vcpu, event);
    if (!session_replaying())
        return 0;
    if (!session.have_next)
        session_diverged(vcpu, "the recording ends before this input", event);
    else if (session.next.async || !same_input(event, &session.next))
        session_diverged(vcpu, "the guest asks for another input than the recorded one", event);
    else if (vcpu->branches != session.next.branches || vcpu->regs.rip != session.next.regs.rip)
        session_diverged(vcpu, "the position differs", event);
    else if (!registers_match(vcpu, &session.next))
        session_diverged(vcpu, "registers or output differ", event);
    else {
        event->payload = session.next.payload;
        event->data = session.next.data;
        event->data_len = session.next.data_len;
        count_event(event->kind);
        read_next();
        return 0;
    }
    return ERR_INVALID;
}

bool session_next_is(const struct vcpu *vcpu, u8 kind)
{
    return session.have_next && !session.next.async && session.next.kind == kind &&
           session_at(vcpu, &session.next);
}

int session_record_interrupt(struct vcpu *vcpu, u8 vector)
{
    struct log_event e = {.kind = LOG_EVENT_INTERRUPT,
                          .async = true,
                          .full = position_needs_registers(vcpu),
                          .same_position = at_last_dma(vcpu),
                          .payload.interrupt.vector = vector};

    return record(vcpu, &e);
}

int session_record_nmi(struct vcpu *vcpu)
{
    struct log_event e = {
        .kind = LOG_EVENT_NMI, .async = true, .full = position_needs_registers(vcpu)};

    return record(vcpu, &e);
}

int session_record_dma(struct vcpu *vcpu, u8 stream, u64 gpa, const void *data, u32 len)
{
    struct log_event e = {
        .kind = LOG_EVENT_DMA,
        .async = true,
        .full = position_needs_registers(vcpu),
        .same_position = at_last_dma(vcpu),
        .payload.dma = {.stream = stream, .gpa = gpa},
        .data = data,
        .data_len = len,
    };

    return record(vcpu, &e);
}

int session_note(struct vcpu *vcpu, struct log_event *event)
{
    event->same_position = at_last_event(vcpu);
    return record(vcpu, event);
}

void session_output(u32 kind, u64 address, u64 value)
{
    u64 words[3] = {kind, address, value};

    session.out_crc = crc32c(session.out_crc, words, sizeof(words));
}

void session_console(u8 byte)
{
    log_console_put(session.region, byte);
}

static void finish(u8 reason)
{
    session.ended = true;
    session.end_reason = reason;
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
    if (!session_recording() || session.ended)
        return;
    log_writer_taken(&session.writer, stored);
    log_writer_rewind(&session.writer);
    if (close)
        log_flush(&session.writer);
}

u64 session_completed(void)
{
    return session_recording() ? log_writer_completed(&session.writer) : 0;
}

u64 session_console_bytes(void)
{
    return session.console_before + log_console_bytes(session.region);
}

void session_console_begin(u64 bytes)
{
    session.console_before = bytes;
}

const struct log_event *session_peek(void)
{
    return session.have_next ? &session.next : NULL;
}

void session_skip(void)
{
    count_event(session.next.kind);
    read_next();
}

void session_seal(struct vcpu *vcpu, u8 reason)
{
    session_end(vcpu, reason, false);
    session.ended = false;
    session.paused = true;
}

void session_end(struct vcpu *vcpu, u8 reason, bool async)
{
    struct log_final_state state;
    struct log_event e = {
        .kind = LOG_EVENT_END,
        .async = async,
        .full = true,
        .payload.end.reason = reason,
        .data = &state,
        .data_len = sizeof(state),
    };

    if (session.ended)
        return;
    cpu_state_final(vcpu, &state);
    if (session_recording()) {
        finish(reason);
        record(vcpu, &e);
        log_writer_seal(&session.writer, LOG_REGION_STATE_SEALED);
    } else if (!session_replaying()) {
        finish(reason);
    } else if (session.have_next && session.next.kind == LOG_EVENT_END &&
               session.next.payload.end.reason != reason) {
        session_diverged(vcpu, "the run ends in another way than the recorded one", &e);
    } else if (session_input(vcpu, &e) == 0) {
        /* session_input() checked the position; now e.data is the recorded state. */
        if (memcmp(e.data, &state, sizeof(state)) != 0)
            session_diverged(vcpu, "the final state differs", &e);
        else
            log_region_set_state(session.region, LOG_REGION_STATE_REPLAYED);
        finish(reason);
    }
}

void session_next_exit(void)
{
    session.logged = false;
    session.logged_dma = false;
}

bool session_ended(void)
{
    return session.ended;
}

void session_abort(void)
{
    if (session_recording() && !session.ended)
        log_writer_seal(&session.writer, LOG_REGION_STATE_FAILED);
    session.ended = true;
}

const struct log_event *session_next_async(void)
{
    return session.have_next && session.next.async ? &session.next : NULL;
}

static bool apply_end(struct vcpu *vcpu)
{
    u8 reason = session.next.payload.end.reason;

    session.next.async = false; /* due here: from now on it is checked like any other end */
    session_end(vcpu, reason, false);
    return true;
}

bool session_apply_due(struct vcpu *vcpu)
{
    const struct log_event *e;

    if (vcpu->event.valid)
        return false; /* the boundary comes after its delivery */
    for (bool first = true; (e = session_next_async()) != NULL; first = false) {
        if (e->same_position ? first : !session_at(vcpu, e))
            return false;
        switch (e->kind) {
        case LOG_EVENT_DMA:
            if (guest_memory_write(e->payload.dma.gpa, e->data, e->data_len) < 0) {
                session_diverged(vcpu, "DMA to memory that this guest does not have", e);
                return true;
            }
            break;
        case LOG_EVENT_INTERRUPT:
            if (!hv_can_inject(vcpu)) {
                /* With DMA before it the interrupt is due at this very boundary. */
                if (e->same_position)
                    session_diverged(vcpu, "the guest cannot take the interrupt here", e);
                return e->same_position;
            }
            vcpu->regs.rflags &= ~RFLAGS_RF;
            hv_inject_interrupt(vcpu, e->payload.interrupt.vector);
            count_event(e->kind);
            read_next();
            return true;
        case LOG_EVENT_NMI:
            vcpu->regs.rflags &= ~RFLAGS_RF;
            hv_inject_nmi(vcpu);
            count_event(e->kind);
            read_next();
            return true;
        case LOG_EVENT_END:
            return apply_end(vcpu);
        default:
            session_diverged(vcpu, "an event that the monitor does not know", e);
            return true;
        }
        count_event(e->kind);
        read_next();
        debugger_stop_if_written();
        if (session.ended)
            return true;
    }
    return false;
}

void session_diverged(struct vcpu *vcpu, const char *why, const struct log_event *actual)
{
    struct divergence d = {
        .why = why,
        .event = session.events,
        .expected = session.have_next ? &session.next : NULL,
        .actual_kind = actual != NULL ? actual->kind : 0,
        .actual = actual,
        .regs = position_regs(&vcpu->regs),
        .branches = vcpu->branches,
        .out_crc = session.out_crc,
    };

    if (session.diverged)
        return;
    session.diverged = true;
    log_region_set_state(session.region, LOG_REGION_STATE_FAILED);
    divergence_print(vcpu, &d);
    finish(LOG_END_REASON_MONITOR_ERROR);
}

static const char *const end_names[] = {
    [LOG_END_REASON_POWER_OFF] = "shutdown",        [LOG_END_REASON_RESET] = "reset",
    [LOG_END_REASON_TRIPLE_FAULT] = "triple-fault", [LOG_END_REASON_HALT] = "halt",
    [LOG_END_REASON_STOPPED] = "stopped",           [LOG_END_REASON_LOG_FULL] = "log-full",
    [LOG_END_REASON_MONITOR_ERROR] = "error",       [LOG_END_REASON_GUEST_PANIC] = "guest-panic",
    [LOG_END_REASON_WATCHDOG] = "watchdog",         [LOG_END_REASON_GUEST_STOP] = "guest-stop",
};

void session_read_status(struct session_status *status)
{
    *status = (struct session_status){
        .events = session.events,
        .log_bytes = session_recording() ? log_writer_bytes(&session.writer) : 0,
        .end_reason = session.ended ? session.end_reason : 0,
        .diverged = session.diverged,
    };
}

u64 session_event_count(u8 kind)
{
    return session.events_by_kind[kind];
}

const void *session_region(void)
{
    return session.region;
}

void session_report(const struct vcpu *vcpu)
{
    for (u8 kind = 1; kind < SESSION_EVENT_KINDS; kind++)
        if (session.events_by_kind[kind] != 0)
            printk("{\"lvmm\":\"events\",\"kind\":\"%s\",\"count\":%lu}\n", log_event_name(kind),
                   session.events_by_kind[kind]);
    printk("{\"lvmm\":\"halted\",\"reason\":\"%s\",\"branches\":%lu,\"events\":%lu,"
           "\"rip\":%lu,\"log_bytes\":%lu}\n",
           session.diverged ? "divergence" : end_names[session.end_reason], vcpu->branches,
           session.events, vcpu->regs.rip,
           session_recording() ? log_writer_bytes(&session.writer) : 0);
}
