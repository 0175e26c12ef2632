/* Requests of the debug link that begin and end a recording, where the guest is stopped. */
#ifndef LVMM_DEBUG_RECORDING_COMMANDS_H
#define LVMM_DEBUG_RECORDING_COMMANDS_H

#include "debug/link.h"

u8 command_start_recording(void *context, struct link_exchange *e);
u8 command_stop_recording(void *context, struct link_exchange *e);

#endif
