/* What the debug link's requests do (docs/debug-link.md). */
#ifndef LVMM_DEBUG_COMMANDS_H
#define LVMM_DEBUG_COMMANDS_H

#include "debug/link.h"

/* By opcode; the context is the struct vcpu. */
extern const link_handler command_handlers[LINK_OPCODES];

#endif
