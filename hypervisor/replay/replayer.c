/* Giving the guest what was logged, and checking that it comes to the same places. */
#include "arch/msr_index.h"
#include "core/guest_memory.h"
#include "core/guest_time.h"
#include "debug/debugger.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/divergence.h"
#include "replay/segment.h"
#include "replay/session_state.h"

void replay_read_next(void)
{
    int result = log_read(&session.reader, &session.next);

    while (result > 0 && log_event_is_note(session.next.kind)) {
        session_count_event(session.next.kind);
        result = log_read(&session.reader, &session.next);
    }
    session.have_next = result > 0;
    if (result < 0 && result != ERR_END)
        printk("lvmm: the log is damaged after event %lu (error %d)\n", session.events, result);
}

int replay_check_header(const struct log_recording_header *here)
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

const struct log_recording_header *session_header(void)
{
    return &session.reader.header;
}

struct log_regs replay_position(const struct log_regs *regs)
{
    struct log_regs position = *regs;

    position.rflags &= ~RFLAGS_RF;
    return position;
}

static bool registers_match(const struct vcpu *vcpu, const struct log_event *e)
{
    struct log_regs regs = replay_position(&vcpu->regs), then = replay_position(&e->regs);

    if (!e->has_check)
        return true;
    if (e->has_regs && memcmp(&regs, &then, sizeof(regs)) != 0)
        return false;
    return log_position_check(&regs, session.out_crc) == e->check;
}

/* DMA that became visible when the guest accessed a device. */
static bool is_asked_dma(const struct log_event *e)
{
    return e->kind == LOG_EVENT_DMA && !e->async;
}

static bool same_place(const struct vcpu *vcpu, const struct log_event *e)
{
    return vcpu->branches == e->branches && vcpu->regs.rip == e->regs.rip;
}

/* An asynchronous event that has no check ended a HLT, or is the END of a log that was cut where
 * there was none. */
bool session_at(const struct vcpu *vcpu, const struct log_event *e)
{
    return same_place(vcpu, e) &&
           (!e->async || e->has_check || vcpu->halted || e->kind == LOG_EVENT_END) &&
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
    case LOG_EVENT_IN_STRING:
        return a->payload.in_string.port == b->payload.in_string.port &&
               a->payload.in_string.size == b->payload.in_string.size && a->data_len == b->data_len;
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
    case LOG_EVENT_HYPERCALL:
        return a->payload.hypercall.function == b->payload.hypercall.function &&
               a->payload.hypercall.number == b->payload.hypercall.number;
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

int replay_input(struct vcpu *vcpu, struct log_event *event)
{
    if (session.ended)
        return ERR_INVALID;
    if (!session.have_next)
        session_diverged(vcpu, "the recording ends before this input", event);
    else if (is_asked_dma(&session.next) && same_place(vcpu, &session.next))
        session_diverged(vcpu, "registers or output differ", event);
    else if (session.next.async || !same_input(event, &session.next))
        session_diverged(vcpu, "the guest asks for another input than the recorded one", event);
    else if (!same_place(vcpu, &session.next))
        session_diverged(vcpu, "the position differs", event);
    else if (!registers_match(vcpu, &session.next))
        session_diverged(vcpu, "registers or output differ", event);
    else {
        event->payload = session.next.payload;
        event->data = session.next.data;
        event->data_len = session.next.data_len;
        session_count_event(event->kind);
        replay_read_next();
        return 0;
    }
    return ERR_INVALID;
}

const struct log_event *session_peek(void)
{
    return session.have_next ? &session.next : NULL;
}

void session_skip(void)
{
    session_count_event(session.next.kind);
    replay_read_next();
}

void session_begin_after(const struct output_state *output)
{
    session.console_before = output->console_bytes;
    session.out_crc = output->crc;
}

u64 session_recording_id(void)
{
    return session.reader.recording_id;
}

u64 session_log_size(void)
{
    return session.reader.size;
}

void session_get_mark(struct session_mark *mark)
{
    *mark = (struct session_mark){
        .log = session.reader.chunk,
        .next = session.have_next ? session.next.index : 0,
        .have_next = session.have_next,
        .events = session.events,
    };
    memcpy(mark->events_by_kind, session.events_by_kind, sizeof(mark->events_by_kind));
}

int session_go_back(const struct session_mark *mark, const struct output_state *output)
{
    int error = 0;

    if (mark->have_next)
        error = log_reader_return(&session.reader, &mark->log, mark->next);
    if (mark->have_next && error == 0)
        error = log_read(&session.reader, &session.next);
    if (error < 0)
        return error;
    session.have_next = mark->have_next;
    session.events = mark->events;
    memcpy(session.events_by_kind, mark->events_by_kind, sizeof(mark->events_by_kind));
    session.out_crc = output->crc;
    log_console_return(session.region, output->console_bytes - session.console_before);
    session.ended = session.diverged = false;
    session.end_reason = 0;
    log_region_set_state(session.region, LOG_REGION_STATE_REPLAYING);
    return 0;
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

static bool apply_dma(struct vcpu *vcpu, const struct log_event *e)
{
    if (guest_memory_write(e->payload.dma.gpa, e->data, e->data_len) == 0)
        return true;
    session_diverged(vcpu, "DMA to memory that this guest does not have", e);
    return false;
}

/* A log that was cut between such DMA and the access it belongs to ends within the access. */
static void apply_cut(struct vcpu *vcpu)
{
    const struct log_event *e = session_next_async();

    if (e != NULL && e->kind == LOG_EVENT_END && !session.ended && session_at(vcpu, e))
        apply_end(vcpu);
}

void session_apply_asked(struct vcpu *vcpu)
{
    while (session.have_next && !session.ended && is_asked_dma(&session.next) &&
           same_place(vcpu, &session.next) && registers_match(vcpu, &session.next)) {
        if (!apply_dma(vcpu, &session.next))
            return;
        session_count_event(LOG_EVENT_DMA);
        replay_read_next();
    }
    apply_cut(vcpu);
}

/* What follows DMA and interrupts, at the same place. */
static void set_clock(const struct vcpu *vcpu)
{
    const struct log_event *e = session_next_async();

    if (e == NULL || e->kind != LOG_EVENT_CLOCK)
        return;
    guest_time_set(vcpu, e->payload.clock.tsc);
    session_count_event(e->kind);
    replay_read_next();
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
            if (!apply_dma(vcpu, e))
                return true;
            break;
        case LOG_EVENT_CLOCK:
            set_clock(vcpu);
            continue;
        case LOG_EVENT_INTERRUPT:
            if (!hv_can_inject(vcpu)) {
                /* With DMA before it the interrupt is due at this very boundary. */
                if (e->same_position)
                    session_diverged(vcpu, "the guest cannot take the interrupt here", e);
                return e->same_position;
            }
            vcpu->regs.rflags &= ~RFLAGS_RF;
            hv_inject_interrupt(vcpu, e->payload.interrupt.vector);
            session_count_event(e->kind);
            replay_read_next();
            set_clock(vcpu);
            return true;
        case LOG_EVENT_NMI:
            vcpu->regs.rflags &= ~RFLAGS_RF;
            hv_inject_nmi(vcpu);
            session_count_event(e->kind);
            replay_read_next();
            return true;
        case LOG_EVENT_CONTENT:
            session.next.async = false; /* due here: from now on it is checked like the guest's */
            segment_end(vcpu);
            return true;
        case LOG_EVENT_END:
            return apply_end(vcpu);
        default:
            session_diverged(vcpu, "an event that the monitor does not know", e);
            return true;
        }
        session_count_event(e->kind);
        replay_read_next();
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
        .regs = replay_position(&vcpu->regs),
        .branches = vcpu->branches,
        .out_crc = session.out_crc,
    };

    if (session.diverged)
        return;
    session.diverged = true;
    log_region_set_state(session.region, LOG_REGION_STATE_FAILED);
    divergence_print(vcpu, &d);
    session_finish(LOG_END_REASON_MONITOR_ERROR);
}
