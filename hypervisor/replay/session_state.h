/* What the files of a run share: session.c (its course), recorder.c and replayer.c. */
#ifndef LVMM_REPLAY_SESSION_STATE_H
#define LVMM_REPLAY_SESSION_STATE_H

#include "replay/log_reader.h"
#include "replay/log_writer.h"
#include "replay/session.h"

struct session_state {
    u32 mode;
    void *region;
    struct log_writer writer;
    struct log_reader reader;
    struct log_event next; /* replay: the next event, valid if have_next */
    bool have_next;
    bool ring;           /* record: the newest events overwrite the oldest */
    bool paused;         /* record: nothing is logged now */
    void (*serve)(void); /* record: called while the log is full; NULL: the recording ends then */
    u64 console_before;  /* replay: console bytes that the guest put out before the recording */
    bool ended;
    u8 end_reason;
    bool diverged;
    u32 out_crc;
    u64 events;
    u64 events_by_kind[SESSION_EVENT_KINDS];
    bool logged;                /* record: an event was logged at this exit, */
    bool logged_dma;            /* and the last one that is no note and no CLOCK was DMA, */
    bool logged_interrupt;      /* or an interrupt, */
    bool logged_async;          /* or was asynchronous */
    u64 logged_rip, logged_rcx; /* at the last event */
    u64 last_check;             /* record: number of the last event that had one */
};

extern struct session_state session;

void session_count_event(u8 kind);
void session_finish(u8 reason);

/* Logs an event at the vCPU's position. Negative: the run is over. */
int record_event(struct vcpu *vcpu, struct log_event *e);

/* Replay: goes on to the next event that is no note. */
void replay_read_next(void);
/* Replay: whether this is the recorded machine and guest; else ERR_INVALID, told. */
int replay_check_header(const struct log_recording_header *here);
/* Replay: session_input(). */
int replay_input(struct vcpu *vcpu, struct log_event *event);
/* RF is no part of a position: the CPU sets it in the image that an exit saves inside a REP, and
 * whether a single-step exit does so too differs between CPUs. It is cleared at injection. The log
 * has it in full registers nevertheless, because a breakpoint cannot find a position with RF set.
 */
struct log_regs replay_position(const struct log_regs *regs);

#endif
