/* An entry that is for one instruction. The guest gets no interrupts meanwhile. */
#ifndef LVMM_DEBUG_ONE_INSTRUCTION_H
#define LVMM_DEBUG_ONE_INSTRUCTION_H

#include "core/vcpu.h"

/* Looked at around every entry, so it is not behind calls. */
struct one_instruction {
    /* Why the next entry is for one, besides the debugger's step: to pass a breakpoint; for an
     * access to a patched page or to a debug register. */
    bool pass, access, debug_register;
    bool begun; /* the entry, or what the monitor does for the guest, is for one */
    bool done;  /* one has been executed */
};

extern struct one_instruction one_instruction;

void one_instruction_begin(const struct vcpu *vcpu);
/* Around the entry. */
void one_instruction_enter(struct vcpu *vcpu);
void one_instruction_exit(const struct exit *exit);

/* Whether what has begun has executed an instruction, or one iteration of a REP; it is over then.
 */
bool one_instruction_finish(const struct vcpu *vcpu);

#endif
