#include "debug/one_instruction.h"
#include "core/decode.h"
#include "core/guest_linear.h"
#include "core/interrupts.h"
#include "debug/pages.h"
#include "debug/patches.h"

struct one_instruction one_instruction;

static struct {
    bool trapped, opened;
    u64 rip, rcx; /* where it began */
    bool was_halted;
} o;

void one_instruction_begin(const struct vcpu *vcpu)
{
    one_instruction.begun = true;
    o.trapped = false;
    o.rip = vcpu->regs.rip;
    o.rcx = vcpu->regs.gpr[GPR_RCX];
    o.was_halted = vcpu->halted;
}

/* The patched pages that the instruction at RIP may be in. */
static void need_code(const struct vcpu *vcpu)
{
    u64 rip = guest_linear_rip(vcpu), gpa;

    for (unsigned int offset = 0; offset < INSN_MAX_LENGTH; offset += INSN_MAX_LENGTH - 1)
        if (guest_linear_to_gpa_any(vcpu, rip + offset, &gpa) == 0 && patches_on(gpa))
            pages_need(gpa, false);
}

void one_instruction_enter(struct vcpu *vcpu)
{
    one_instruction_begin(vcpu);
    if (hv_hold_interrupts(vcpu))
        interrupts_hold(true);
    hv_set_single_step(true);
    if (one_instruction.pass)
        need_code(vcpu);
    o.opened = one_instruction.pass || one_instruction.access;
    if (o.opened)
        pages_open();
}

void one_instruction_exit(const struct exit *exit)
{
    hv_release_interrupts();
    interrupts_hold(false);
    hv_set_single_step(false);
    o.trapped = exit->kind == EXIT_STEP;
    if (o.opened)
        pages_close();
}

static bool executed(const struct vcpu *vcpu)
{
    return o.trapped || vcpu->regs.rip != o.rip || vcpu->regs.gpr[GPR_RCX] != o.rcx ||
           vcpu->halted != o.was_halted;
}

bool one_instruction_finish(const struct vcpu *vcpu)
{
    if (!executed(vcpu))
        return false;
    one_instruction.begun = false;
    one_instruction.done = true;
    one_instruction.pass = one_instruction.access = one_instruction.debug_register = false;
    return true;
}
