#include "replay/session.h"
#include "core/cpu_state.h"
#include "lib/crc32c.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/session_state.h"
#include "replay/snapshot.h"

/* In a region that is smaller than this, so is the ring of console output. */
#define SMALL_REGION  0x400000
#define SMALL_CONSOLE 0x10000

struct session_state session;

void session_count_event(u8 kind)
{
    session.events++;
    session.events_by_kind[kind]++;
}

void session_finish(u8 reason)
{
    session.ended = true;
    session.end_reason = reason;
}

int session_open(u32 mode, void *region, u64 region_size, const void *log, u64 log_size)
{
    u64 tsc;
    struct log_region_params params = {.mode = mode, .overwrites = session.ring};
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

void session_use_ring(void)
{
    session.ring = true;
}

int session_start(const struct log_recording_header *header)
{
    if (session_recording())
        return log_write_header(&session.writer, header);
    if (session_replaying()) {
        if (replay_check_header(header) < 0)
            return ERR_INVALID;
        replay_read_next();
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

int session_input(struct vcpu *vcpu, struct log_event *event)
{
    if (session_recording())
        return record_event(vcpu, event);
    return session_replaying() ? replay_input(vcpu, event) : 0;
}

void session_output(u32 kind, u64 address, u64 value)
{
    u64 words[3] = {kind, address, value};

    session.out_crc = crc32c(session.out_crc, words, sizeof(words));
}

void session_console(struct vcpu *vcpu, u8 byte)
{
    if (byte == '\n' && session_recording()) {
        struct log_event e = {.kind = LOG_EVENT_CONSOLE_LINE,
                              .payload.console_line.end = session_console_bytes() + 1};

        /* Without room for it the recording ends before this output. */
        if (session_note(vcpu, &e) < 0)
            return;
    }
    log_console_put(session.region, byte);
}

u64 session_console_bytes(void)
{
    return session.console_before + log_console_bytes(session.region);
}

struct output_state session_output_state(void)
{
    return (struct output_state){session_console_bytes(), session.out_crc};
}

/* The tools take a ring apart with the memory of its end: they can tell whether they have that. */
static void note_memory(void)
{
    struct log_region_header *region = session.region;

    region->memory_crc32c = snapshot_memory_crc();
    region->memory_known = 1;
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
        session_finish(reason);
        record_event(vcpu, &e);
        if (session.ring)
            note_memory();
        log_writer_seal(&session.writer, LOG_REGION_STATE_SEALED);
    } else if (!session_replaying()) {
        session_finish(reason);
    } else if (session.have_next && session.next.kind == LOG_EVENT_END &&
               session.next.payload.end.reason != reason) {
        session_diverged(vcpu, "the run ends in another way than the recorded one", &e);
    } else if (session_input(vcpu, &e) == 0) {
        /* session_input() checked the position; now e.data is the recorded state. */
        if (memcmp(e.data, &state, sizeof(state)) != 0)
            session_diverged(vcpu, "the final state differs", &e);
        else
            log_region_set_state(session.region, LOG_REGION_STATE_REPLAYED);
        session_finish(reason);
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

u64 session_events(void)
{
    return session.events;
}

u64 session_event_count(u8 kind)
{
    return session.events_by_kind[kind];
}

void session_show_firmware(const struct log_firmware_copy *pages, u64 count)
{
    struct log_region_header *region = session.region;

    region->firmware = (u64)pages;
    region->firmware_count = count;
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
