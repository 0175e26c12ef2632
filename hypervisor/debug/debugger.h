/* Run control: stops the guest at instruction boundaries, and serves the debug link.
 *
 * A stop leaves no trace in the guest. In replay nothing that is done here changes the run, unless
 * a write is forced. */
#ifndef LVMM_DEBUG_DEBUGGER_H
#define LVMM_DEBUG_DEBUGGER_H

#include "core/vcpu.h"

/* `wait`: the guest is stopped before its first instruction. */
void debugger_init(struct vcpu *vcpu, bool wait);

/* The four places in the run loop. At a boundary: stops the guest here if it is to stop; false when
 * the run is over. */
bool debugger_boundary(struct vcpu *vcpu);
void debugger_before_entry(struct vcpu *vcpu);
/* What was the debugger's own becomes EXIT_NONE. Before position_on_exit(). */
void debugger_after_exit(struct vcpu *vcpu, struct exit *exit);
/* After an exit in replay, before what is due here: stops the guest where RUN_TO sent it. False
 * where the exit is not to be handled any more: the guest is elsewhere, or the run is over. */
bool debugger_arrival(struct vcpu *vcpu);
/* Whether the guest was brought elsewhere since the last entry. */
bool debugger_moved(void);
/* Looks at the line. */
void debugger_poll(void);

/* The monitor is about to write to guest memory for a device or in the place of an instruction.
 * What watches there stops the guest at the next boundary; or where this one is called before. */
void debugger_memory_write(u64 gpa, const void *data, u64 size);
void debugger_stop_if_written(void);

/* While the guest executes a single instruction it gets no interrupts. */
bool debugger_stepping(void);

/* The run is over: answers requests until a replay is to go back. */
void debugger_halted(void);

/* The same after a failure of the monitor's own; nothing where the debugger is not there yet. */
__attribute__((noreturn)) void debugger_panicked(void);

/* ---- for the requests (link/requests.h) */

void debugger_go(bool step);
/* As checkpoint_restore(). */
int debugger_restore(u32 id);

#endif
