#include "debug/debugger.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/vectors.h"
#include "core/early_reads.h"
#include "core/guest_linear.h"
#include "debug/breakpoints.h"
#include "debug/one_instruction.h"
#include "debug/pages.h"
#include "debug/patches.h"
#include "debug/run_state.h"
#include "debug/stop_reason.h"
#include "debug/travel.h"
#include "debug/watches.h"
#include "replay/session.h"

static struct {
    struct vcpu *vcpu;
    bool moved; /* the guest was brought to a checkpoint */

    /* Why to stop at the next boundary, unless to break in. */
    bool step;                      /* when an instruction is done */
    struct breakpoint hit, written; /* by the guest; by the monitor */
} d;

void debugger_init(struct vcpu *vcpu, bool wait)
{
    d.vcpu = vcpu;
    run_state_init(vcpu, wait);
}

void debugger_poll(void)
{
    run_state_poll();
}

static void set_stopped(enum link_run_state state, u8 reason, u64 address, u32 breakpoint)
{
    d.step = false;
    one_instruction.pass = one_instruction.access = one_instruction.done = false;
    watches_forget();
    d.hit.id = d.written.id = 0;
    travel_end();
    run_state_stop(state, reason, address, breakpoint);
}

/* The guest goes on without a stop by what is at this very place. */
static void pass(void)
{
    u64 rip = guest_linear_rip(d.vcpu);

    d.hit.id = d.written.id = 0;
    one_instruction.pass = patch_at(d.vcpu, rip);
    if (breakpoints_hardware_at(rip))
        d.vcpu->regs.rflags |= RFLAGS_RF;
}

/* Serves requests until the guest is to go on, or the run has been ended. */
static void serve_stopped(void)
{
    struct breakpoint here;

    while (run_state() == LINK_RUN_STATE_STOPPED && !session_ended())
        run_state_poll();
    run_state_go();
    here = breakpoints_at(guest_linear_rip(d.vcpu));
    if (here.id != 0 && travel_looks_back())
        travel_met(d.vcpu, stop_reason_of_hit(here.kind), here.address, here.id, false);
    travel_step(d.vcpu);
    pass(); /* and what the debugger itself wrote stops nothing */
}

static void stop(u8 reason, u64 address, u32 breakpoint)
{
    set_stopped(LINK_RUN_STATE_STOPPED, reason, address, breakpoint);
    serve_stopped();
}

/* A breakpoint or watchpoint: the guest stops, or goes on if it is only to be remembered. */
static void stop_by(struct breakpoint hit)
{
    u8 reason = stop_reason_of_hit(hit.kind);

    if (!travel_looks_back()) {
        stop(reason, hit.address, hit.id);
        return;
    }
    travel_met(d.vcpu, reason, hit.address, hit.id, reason == LINK_STOP_REASON_WATCHPOINT);
    pass();
}

/* After the entry for one instruction, if that has been executed. */
static void finish_one(const struct vcpu *vcpu)
{
    bool access = one_instruction.access;

    if (!one_instruction.begun || !one_instruction_finish(vcpu))
        return;
    if (access) {
        struct breakpoint hit = breakpoints_after_access();

        if (hit.id != 0)
            d.hit = hit;
    }
    watches_forget();
}

/* What watches memory has seen an access before this boundary: that comes before the boundary
 * itself. */
static void remember_watches(void)
{
    if (!travel_looks_back())
        return;
    if (d.written.id != 0)
        stop_by(d.written);
    if (d.hit.id != 0 && stop_reason_of_hit(d.hit.kind) == LINK_STOP_REASON_WATCHPOINT)
        stop_by(d.hit);
}

/* Stops where the debugger sent the guest. */
static bool arrive(struct vcpu *vcpu)
{
    u8 reason;

    remember_watches();
    reason = travel_look(vcpu);
    if (reason != LINK_STOP_REASON_NONE)
        stop(reason, vcpu->regs.rip, 0);
    return reason != LINK_STOP_REASON_NONE;
}

bool debugger_arrival(struct vcpu *vcpu)
{
    finish_one(vcpu);
    if (!session_ended())
        arrive(vcpu);
    return !d.moved && !session_ended();
}

bool debugger_moved(void)
{
    return d.moved;
}

bool debugger_boundary(struct vcpu *vcpu)
{
    bool done;

    finish_one(vcpu);
    done = one_instruction.done;
    one_instruction.begun = one_instruction.done = false;
    if (session_ended())
        return false;
    if (run_state() == LINK_RUN_STATE_STOPPED)
        serve_stopped(); /* brought back from the end of the run */
    else if (arrive(vcpu))
        return !session_ended();
    else if (d.written.id != 0 && !vcpu->event.valid)
        stop_by(d.written);
    else if (d.hit.id != 0)
        stop_by(d.hit);
    else if (d.step && done)
        stop(LINK_STOP_REASON_STEP, vcpu->regs.rip, 0);
    else if (run_flags.break_in && !vcpu->event.valid)
        stop(LINK_STOP_REASON_INTERRUPT, vcpu->regs.rip, 0);
    else
        travel_step(vcpu);
    return !session_ended();
}

void debugger_memory_write(u64 gpa, const void *data, u64 size)
{
    struct breakpoint hit;

    if (d.vcpu == NULL)
        return;
    if (breakpoints_used()) {
        hit = breakpoints_written(d.vcpu, gpa, data, size);
        if (d.written.id == 0)
            d.written = hit;
    }
    pages_memory_written(gpa, data, size);
}

void debugger_stop_if_written(void)
{
    if (d.written.id == 0)
        return;
    stop_by(d.written);
    if (d.step)
        one_instruction_begin(d.vcpu);
}

bool debugger_stepping(void)
{
    return d.step || one_instruction.pass || one_instruction.access ||
           one_instruction.debug_register;
}

void debugger_before_entry(struct vcpu *vcpu)
{
    d.moved = false;
    if (!one_instruction.debug_register)
        hv_load_debug_points(vcpu);
    if (debugger_stepping())
        one_instruction_enter(vcpu);
}

static void on_debug_exception(struct vcpu *vcpu, struct exit *exit)
{
    unsigned int causes = hv_debug_causes(exit);

    if (causes == 0) {
        hv_reflect_debug_exception(vcpu, exit);
        exit->kind = EXIT_NONE;
    }
    for (unsigned int i = 0; i < HV_DEBUG_POINTS; i++)
        if (causes & BIT(i + 1))
            d.hit = breakpoints_point(i);
}

static void on_breakpoint_exception(struct vcpu *vcpu, struct exit *exit)
{
    u64 rip = guest_linear_rip(vcpu);

    if (patch_at(vcpu, rip))
        d.hit = breakpoints_software(rip);
    else
        hv_inject_software_breakpoint(vcpu, exit->length);
    exit->kind = EXIT_NONE;
}

void debugger_after_exit(struct vcpu *vcpu, struct exit *exit)
{
    if (one_instruction.begun)
        one_instruction_exit(exit);
    if (exit->kind == EXIT_EXCEPTION && exit->u.event.vector == VECTOR_DB)
        on_debug_exception(vcpu, exit);
    else if (exit->kind == EXIT_EXCEPTION && exit->u.event.vector == VECTOR_BP)
        on_breakpoint_exception(vcpu, exit);
    else if (exit->kind == EXIT_DEBUG_REGISTER)
        one_instruction.debug_register = true;
    else if (exit->kind == EXIT_MEMORY && pages_ours(exit->u.memory.gpa) &&
             pages_need(exit->u.memory.gpa, true)) {
        one_instruction.access = true;
        watches_access(vcpu, exit);
        early_reads_access(vcpu, exit);
        exit->kind = EXIT_NONE;
    }
    if (session_replaying())
        return; /* what else there is belongs to the positions */
    hv_clear_breakpoint();
    if (exit->kind == EXIT_EXCEPTION || exit->kind == EXIT_DEBUG_REGISTER)
        exit->kind = EXIT_NONE;
}

void debugger_halted(void)
{
    set_stopped(LINK_RUN_STATE_HALTED, stop_reason_of_end(), d.vcpu->regs.rip, 0);
    while (run_state() == LINK_RUN_STATE_HALTED)
        run_state_poll();
}

void debugger_panicked(void)
{
    if (d.vcpu == NULL)
        cpu_halt_forever();
    set_stopped(LINK_RUN_STATE_HALTED, LINK_STOP_REASON_MONITOR_ERROR, d.vcpu->regs.rip, 0);
    for (;;)
        run_state_poll();
}

void debugger_go(bool step)
{
    run_state_go();
    d.step = step;
}

int debugger_restore(u32 id)
{
    int error = checkpoint_restore(d.vcpu, id);

    if (error == 0) {
        d.moved = true;
        set_stopped(LINK_RUN_STATE_STOPPED, LINK_STOP_REASON_INTERRUPT, d.vcpu->regs.rip, 0);
    }
    return error;
}
