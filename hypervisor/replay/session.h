/* The run: live, record or replay. Everything that enters the guest from outside goes through
 * here: in record it is logged, in replay it is taken from the log and the position is checked. */
#ifndef LVMM_REPLAY_SESSION_H
#define LVMM_REPLAY_SESSION_H

#include "core/cpu_state.h"
#include "core/vcpu.h"
#include "log_format.h"
#include "replay/log_reader.h"

#define SESSION_EVENT_KINDS 32

/* Prepares the region. In replay, `log` holds the recording. 0 or a negative error, told. */
int session_open(u32 mode, void *region, u64 region_size, const void *log, u64 log_size);
/* Record, before that: the region will be a ring, in which the newest events overwrite the oldest.
 */
void session_use_ring(void);
/* Record: writes the recording header. Replay: checks this machine and guest against it. */
int session_start(const struct log_recording_header *header);

u32 session_mode(void);
bool session_recording(void);
bool session_replaying(void);
/* Replay: what the recording says of itself. */
const struct log_recording_header *session_header(void);

/* Record: a log region that is full does not end the recording: the guest waits, and `serve` is
 * called again and again, until a tool has taken the log (session_take()). */
void session_wait_for_room(void (*serve)(void));
/* Record: a tool has stored the first `stored` bytes of the log. `close`: completes the chunk that
 * is being written. */
void session_take(u64 stored, bool close);
/* Record: bytes of the log up to the last completed chunk. */
u64 session_completed(void);
/* Record: while paused nothing is logged, but everything else goes on. */
void session_pause(bool pause);
bool session_paused(void);
/* Record: ends the recording, but not the run, which is paused from then on. */
void session_seal(struct vcpu *vcpu, u8 reason);
/* Record: bytes that the log has room for. */
u64 session_room(void);
/* Console bytes that the guest has put out, those before the recording included. */
u64 session_console_bytes(void);
struct output_state session_output_state(void);
/* Replay: this was put out before the recording. */
void session_begin_after(const struct output_state *output);
/* Replay: the next event, NULL where there is none; and the one behind it, without a check. */
const struct log_event *session_peek(void);
void session_skip(void);

/* Replay: where it is in its log, to go back there. */
struct session_mark {
    struct log_mark log;
    u64 next; /* number of the next event that is no note */
    bool have_next;
    u64 events;
    u64 events_by_kind[SESSION_EVENT_KINDS];
};

/* Replay: which recording it is, and the bytes of its log. */
u64 session_recording_id(void);
u64 session_log_size(void);

void session_get_mark(struct session_mark *mark);
/* Goes back, also from a run that has ended; the guest's state is the caller's to restore, its
 * output so far being `output`. An error of log_read(): the log cannot be read any more. */
int session_go_back(const struct session_mark *mark, const struct output_state *output);

/* Begins an event of this kind, asked for by the guest and without data. Its payload is the
 * caller's: to clear all of the structure costs more than the rest of most exits. */
static inline void session_event(struct log_event *e, u8 kind)
{
    e->kind = kind;
    e->async = e->same_position = e->full = e->place = e->has_check = false;
    e->data = NULL;
    e->data_len = 0;
}

/* An input that an instruction asked for. `event` has its kind, what identifies it (port, size,
 * address, index) and, unless replaying, the value that the machine gave; in replay the value is
 * filled in. Data events (FIRMWARE_PAGE) carry event->data. 0, or negative: the run is over. */
int session_input(struct vcpu *vcpu, struct log_event *event);

/* Asynchronous inputs, in record: logged at the vCPU's position. */
int session_record_interrupt(struct vcpu *vcpu, u8 vector);
int session_record_nmi(struct vcpu *vcpu);
/* Where DMA between instructions, or an interrupt, has just been logged. False: not here, nothing
 * is logged. */
bool session_record_clock(struct vcpu *vcpu, u64 tsc);
/* When DMA becomes visible: also when the guest reads or writes a device, and so comes to the
 * monitor itself, in replay too. */
enum session_moment { SESSION_BETWEEN_INSTRUCTIONS, SESSION_AT_READ, SESSION_AT_WRITE };
int session_record_dma(struct vcpu *vcpu, enum session_moment moment, u8 stream, u64 gpa,
                       const void *data, u32 len);
/* Replay: at such a read or write, before it counts, the DMA that became visible there. */
void session_apply_asked(struct vcpu *vcpu);
/* Record: logs a note, which tells the tools something and is no input: replay passes over it. */
int session_note(struct vcpu *vcpu, struct log_event *event);
/* The same, as the first event of a chunk, with all registers. */
int session_note_in_new_chunk(struct vcpu *vcpu, struct log_event *event);
/* The stream of the debugger's writes; devices' streams are below. */
#define SESSION_DEBUGGER_STREAM 255

/* Everything that the guest puts out is folded into the check of the next event. */
void session_output(u32 kind, u64 address, u64 value);
enum session_output_kind {
    OUTPUT_PORT,
    OUTPUT_MEMORY,
    OUTPUT_MSR,
    OUTPUT_CONTROL,
};

/* The guest's console output, as its writes to the console's UART say it. */
void session_console(struct vcpu *vcpu, u8 byte);

/* Record: ends the recording with this reason. Replay: checks that the recording ends here with
 * it. `async` when the guest did not cause it. */
void session_end(struct vcpu *vcpu, u8 reason, bool async);
bool session_ended(void);
/* After every exit: positions logged from now on are new ones. */
void session_next_exit(void);
/* For panic(): saves what is there. */
void session_abort(void);

/* Replay: applies the asynchronous events that are due at the vCPU's position. Returns true when
 * an interrupt is to be delivered before anything else happens. */
bool session_apply_due(struct vcpu *vcpu);
/* Replay: the next asynchronous event, or NULL when the guest itself causes the next one. */
const struct log_event *session_next_async(void);
/* Replay: is the vCPU exactly where `event` was recorded? */
bool session_at(const struct vcpu *vcpu, const struct log_event *event);
/* Replay: reports that the run left the recording, and ends it. */
void session_diverged(struct vcpu *vcpu, const char *why, const struct log_event *actual);

/* Events logged or replayed so far. */
u64 session_events(void);

struct session_status {
    u64 events;    /* logged or replayed so far */
    u64 log_bytes; /* record: of the log so far */
    u8 end_reason; /* enum log_end_reason; 0: the run has not ended */
    bool diverged;
};

void session_read_status(struct session_status *status);
/* How many events of a kind below SESSION_EVENT_KINDS there were so far. */
u64 session_event_count(u8 kind);
/* Tells the tools, in the log region, where the firmware's pages are. */
void session_show_firmware(const struct log_firmware_copy *pages, u64 count);
/* The log region (replay/log_region.h). */
const void *session_region(void);

/* Prints the run's outcome and statistics on the monitor's line. */
void session_report(const struct vcpu *vcpu);

#endif
