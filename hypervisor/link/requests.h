/* What the debug link's requests do (logs_format/link.toml, docs/debug-link.md). Each handles the
 * opcode of its name; the context is the struct vcpu. */
#ifndef LVMM_LINK_REQUESTS_H
#define LVMM_LINK_REQUESTS_H

#include "link/link.h"

/* By opcode. */
extern const link_handler link_requests[LINK_OPCODES];

/* Many requests are for a guest that stands still only. */
bool request_guest_runs(void);

/* request_run.c: the run as a whole */
u8 request_hello(void *context, struct link_exchange *e);
u8 request_status(void *context, struct link_exchange *e);
u8 request_interrupt(void *context, struct link_exchange *e);
u8 request_resume(void *context, struct link_exchange *e);
u8 request_step(void *context, struct link_exchange *e);
u8 request_stop_run(void *context, struct link_exchange *e);
u8 request_reset(void *context, struct link_exchange *e);
u8 request_query(void *context, struct link_exchange *e);

/* request_state.c: registers and memory of the stopped guest */
u8 request_read_registers(void *context, struct link_exchange *e);
u8 request_write_register(void *context, struct link_exchange *e);
u8 request_read_fpu(void *context, struct link_exchange *e);
u8 request_write_fpu(void *context, struct link_exchange *e);
u8 request_read_memory(void *context, struct link_exchange *e);
u8 request_write_memory(void *context, struct link_exchange *e);
u8 request_memory_map(void *context, struct link_exchange *e);

/* request_breakpoints.c */
u8 request_set_breakpoint(void *context, struct link_exchange *e);
u8 request_clear_breakpoint(void *context, struct link_exchange *e);
u8 request_clear_all(void *context, struct link_exchange *e);

/* request_log.c: the console and the log, while they are written, too */
u8 request_read_console(void *context, struct link_exchange *e);
u8 request_log_info(void *context, struct link_exchange *e);
u8 request_read_log(void *context, struct link_exchange *e);
u8 request_take_log(void *context, struct link_exchange *e);

/* request_recording.c: begin and end of a recording, where the guest is stopped */
u8 request_start_recording(void *context, struct link_exchange *e);
u8 request_stop_recording(void *context, struct link_exchange *e);

/* request_travel.c: back and forth in a replay */
u8 request_position(void *context, struct link_exchange *e);
u8 request_checkpoints(void *context, struct link_exchange *e);
u8 request_checkpoint(void *context, struct link_exchange *e);
u8 request_restore(void *context, struct link_exchange *e);
u8 request_run_to(void *context, struct link_exchange *e);
u8 request_last_hit(void *context, struct link_exchange *e);
u8 request_page_changes(void *context, struct link_exchange *e);
u8 request_keep_checkpoints(void *context, struct link_exchange *e);

#endif
