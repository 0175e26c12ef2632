#include "debug/debugger.h"
#include "arch/cpu.h"
#include "arch/msr_index.h"
#include "arch/serial.h"
#include "arch/tsc.h"
#include "core/decode.h"
#include "core/early_reads.h"
#include "core/guest_linear.h"
#include "core/interrupts.h"
#include "core/machine_power.h"
#include "debug/breakpoints.h"
#include "debug/commands.h"
#include "debug/link.h"
#include "debug/pages.h"
#include "debug/patches.h"
#include "debug/stop_reason.h"
#include "debug/travel.h"
#include "debug/watches.h"
#include "lib/printk.h"
#include "replay/session.h"

/* How long the line is listened to after the last byte: requests that come one after the other
 * find the monitor there, since its UART keeps 16 bytes only. */
#define LISTEN_PER_SECOND 20

#define VECTOR_DB 1
#define VECTOR_BP 3

static struct {
    struct vcpu *vcpu;
    struct link link;
    enum link_run_state state;
    bool altered, reset;
    bool moved; /* the guest was brought to a checkpoint */

    /* The last stop. */
    u8 reason; /* enum link_stop_reason */
    u32 stop_count, breakpoint;
    u64 address;

    /* Why to stop at the next boundary. */
    bool break_in;
    bool step;                      /* when an instruction is done */
    struct breakpoint hit, written; /* by the guest; by the monitor */

    /* Why the next entry is for one instruction: the debugger's step; to pass a breakpoint; for an
     * access to a patched page or to a debug register. */
    bool pass, access, debug_register;

    /* The entry that is for one instruction. */
    bool one, trapped, opened;
    bool done; /* it executed it */
    u64 rip, rcx;
    bool was_halted;
} d;

static void put(void *context, u8 byte)
{
    (void)context;
    serial_put_raw(byte);
}

static void say(const char *text, size_t size)
{
    link_message(&d.link, text, size);
}

void debugger_init(struct vcpu *vcpu, bool wait)
{
    d.vcpu = vcpu;
    d.break_in = wait;
    link_init(&d.link, command_handlers, put, vcpu);
    printk_to(say);
}

void debugger_poll(void)
{
    bool running = d.state == LINK_RUN_STATE_RUNNING;
    u64 until = 0;
    int byte;

    do {
        while ((byte = serial_get()) >= 0) {
            link_receive(&d.link, (u8)byte);
            until = rdtsc() + tsc_frequency() / LISTEN_PER_SECOND;
        }
        if (d.reset)
            machine_power_reset();
    } while (running && !d.break_in && rdtsc() < until);
}

enum link_run_state debugger_state(void)
{
    return d.state;
}

void debugger_status(struct link_status *status)
{
    struct session_status session;

    session_read_status(&session);
    *status = (struct link_status){
        .state = (u8)d.state,
        .mode = (u8)session_mode(),
        .flags = d.altered ? LINK_STATUS_FLAG_ALTERED : 0,
        .reason = d.reason,
        .end_reason = session.end_reason,
        .stop_count = d.stop_count,
        .breakpoint = d.breakpoint,
        .address = d.address,
        .branches = d.vcpu->branches,
        .events = session.events,
        .rip = d.vcpu->regs.rip,
        .console_end = ((const struct log_region_header *)session_region())->console_head,
        .log_bytes = session.log_bytes,
    };
}

static void set_stopped(enum link_run_state state, u8 reason, u64 address, u32 breakpoint)
{
    struct link_status status;

    d.state = state;
    d.reason = reason;
    d.address = address;
    d.breakpoint = breakpoint;
    d.stop_count++;
    d.break_in = d.step = d.pass = d.access = false;
    d.done = false;
    watches_forget();
    d.hit.id = d.written.id = 0;
    travel_end();
    debugger_status(&status);
    link_notify(&d.link, &status);
}

/* The guest goes on without a stop by what is at this very place. */
static void pass(void)
{
    u64 rip = guest_linear_rip(d.vcpu);

    d.hit.id = d.written.id = 0;
    d.pass = patch_at(d.vcpu, rip);
    if (breakpoints_hardware_at(rip))
        d.vcpu->regs.rflags |= RFLAGS_RF;
}

/* Serves requests until the guest is to go on, or the run has been ended. */
static void serve_stopped(void)
{
    struct breakpoint here;

    while (d.state == LINK_RUN_STATE_STOPPED && !session_ended())
        debugger_poll();
    d.state = LINK_RUN_STATE_RUNNING;
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

/* Whether the entry for one instruction executed it, or one iteration of a REP. */
static bool executed(const struct vcpu *vcpu)
{
    return d.trapped || vcpu->regs.rip != d.rip || vcpu->regs.gpr[GPR_RCX] != d.rcx ||
           vcpu->halted != d.was_halted;
}

/* After the entry for one instruction, if that has been executed. */
static void finish_one(const struct vcpu *vcpu)
{
    if (!d.one || !executed(vcpu))
        return;
    d.one = false;
    d.done = true;
    if (d.access) {
        struct breakpoint hit = breakpoints_after_access();

        if (hit.id != 0)
            d.hit = hit;
    }
    d.pass = d.access = d.debug_register = false;
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
    d.one = false;
    done = d.done;
    d.done = false;
    if (session_ended())
        return false;
    if (d.state == LINK_RUN_STATE_STOPPED)
        serve_stopped(); /* brought back from the end of the run */
    else if (arrive(vcpu))
        return !session_ended();
    else if (d.written.id != 0 && !vcpu->event.valid)
        stop_by(d.written);
    else if (d.hit.id != 0)
        stop_by(d.hit);
    else if (d.step && done)
        stop(LINK_STOP_REASON_STEP, vcpu->regs.rip, 0);
    else if (d.break_in && !vcpu->event.valid)
        stop(LINK_STOP_REASON_INTERRUPT, vcpu->regs.rip, 0);
    else
        travel_step(vcpu);
    return !session_ended();
}

/* From here on an entry, or what the monitor does for the guest, is to be one instruction. */
static void begin_one(const struct vcpu *vcpu)
{
    d.one = true;
    d.trapped = false;
    d.rip = vcpu->regs.rip;
    d.rcx = vcpu->regs.gpr[GPR_RCX];
    d.was_halted = vcpu->halted;
}

void debugger_memory_write(u64 gpa, const void *data, u64 size)
{
    struct breakpoint hit;

    if (d.vcpu == NULL)
        return;
    hit = breakpoints_written(d.vcpu, gpa, data, size);
    if (d.written.id == 0)
        d.written = hit;
    pages_memory_written(gpa, data, size);
}

void debugger_stop_if_written(void)
{
    if (d.written.id == 0)
        return;
    stop_by(d.written);
    if (d.step)
        begin_one(d.vcpu);
}

bool debugger_stepping(void)
{
    return d.step || d.pass || d.access || d.debug_register;
}

/* The patched pages that the instruction at RIP may be in. */
static void need_code(const struct vcpu *vcpu)
{
    u64 rip = guest_linear_rip(vcpu), gpa;

    for (unsigned int offset = 0; offset < INSN_MAX_LENGTH; offset += INSN_MAX_LENGTH - 1)
        if (guest_linear_to_gpa_any(vcpu, rip + offset, &gpa) == 0 && patches_on(gpa))
            pages_need(gpa, false);
}

void debugger_before_entry(struct vcpu *vcpu)
{
    d.moved = false;
    if (!d.debug_register)
        hv_load_debug_points(vcpu);
    if (!debugger_stepping())
        return;
    begin_one(vcpu);
    if (hv_hold_interrupts(vcpu))
        interrupts_hold(true);
    hv_set_single_step(true);
    if (d.pass)
        need_code(vcpu);
    d.opened = d.pass || d.access;
    if (d.opened)
        pages_open();
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
    if (d.one) {
        hv_release_interrupts();
        interrupts_hold(false);
        hv_set_single_step(false);
        d.trapped = exit->kind == EXIT_STEP;
        if (d.opened)
            pages_close();
    }
    if (exit->kind == EXIT_EXCEPTION && exit->u.event.vector == VECTOR_DB)
        on_debug_exception(vcpu, exit);
    else if (exit->kind == EXIT_EXCEPTION && exit->u.event.vector == VECTOR_BP)
        on_breakpoint_exception(vcpu, exit);
    else if (exit->kind == EXIT_DEBUG_REGISTER)
        d.debug_register = true;
    else if (exit->kind == EXIT_MEMORY && pages_ours(exit->u.memory.gpa) &&
             pages_need(exit->u.memory.gpa, true)) {
        d.access = true;
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
    while (d.state == LINK_RUN_STATE_HALTED)
        debugger_poll();
}

void debugger_panicked(void)
{
    if (d.vcpu == NULL)
        cpu_halt_forever();
    set_stopped(LINK_RUN_STATE_HALTED, LINK_STOP_REASON_MONITOR_ERROR, d.vcpu->regs.rip, 0);
    for (;;)
        debugger_poll();
}

void debugger_interrupt(void)
{
    if (d.state == LINK_RUN_STATE_RUNNING)
        d.break_in = true;
}

void debugger_go(bool step)
{
    d.state = LINK_RUN_STATE_RUNNING;
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

void debugger_reset_after_reply(void)
{
    d.reset = true;
}

void debugger_altered(void)
{
    d.altered = true;
}
