/* Requests of the debug link that move a replay back and forth (logs_format/link.toml). */
#ifndef LVMM_DEBUG_TRAVEL_COMMANDS_H
#define LVMM_DEBUG_TRAVEL_COMMANDS_H

#include "debug/link.h"

u8 command_position(void *context, struct link_exchange *e);
u8 command_checkpoints(void *context, struct link_exchange *e);
u8 command_checkpoint(void *context, struct link_exchange *e);
u8 command_restore(void *context, struct link_exchange *e);
u8 command_run_to(void *context, struct link_exchange *e);
u8 command_last_hit(void *context, struct link_exchange *e);
u8 command_page_changes(void *context, struct link_exchange *e);
u8 command_keep_checkpoints(void *context, struct link_exchange *e);

#endif
