#include "replay/position.h"
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "arch/traps.h"
#include "arch/vectors.h"
#include "core/code_mode.h"
#include "core/decode.h"
#include "core/guest_linear.h"
#include "replay/session.h"

/* The NMI must come with fewer branches than the position has, so that none of the instructions
 * behind the position's last branch has been executed. It comes with the margin at most, and one
 * instruction later, perhaps a branch, where MOV SS blocks it (SDM vol. 3, section 6.8.3). */
#define SLACK 2

/* A counter write takes 31 bits where full-width writes are missing. */
#define ARM_MAX 0x7fffffffULL

/* A loop without conditional branches could be stepped for ever. */
#define STEPS_MAX (1ULL << 26)

static struct {
    u32 margin;
    bool armed;
    u64 overflow_at; /* branches, if armed */
    u64 nmis;
    u64 steps;
    bool step_once; /* the breakpoint cannot be used for the next instruction */
    const struct position_goal *goal;

    /* A REP that is run in one go: see start_rep(). */
    bool in_rep;
    u64 rep_rip, rep_next, rep_left;
} position;

void position_init(u32 skid_margin)
{
    position.margin = skid_margin + SLACK;
    position.nmis = traps_nmi_count();
}

void position_forget(void)
{
    position.armed = position.step_once = position.in_rep = false;
    position.steps = 0;
}

void position_set_goal(const struct position_goal *goal)
{
    position.goal = goal;
}

static void acknowledge_overflow(void)
{
    pmu_acknowledge();
    position.armed = false;
}

static void arm(u64 now, u64 overflow_at)
{
    if (overflow_at - now > ARM_MAX)
        overflow_at = now + ARM_MAX;
    if (position.armed && position.overflow_at <= overflow_at && position.overflow_at > now)
        return;
    pmu_arm(overflow_at - now);
    position.armed = true;
    position.overflow_at = overflow_at;
}

/* The REP string instruction at RIP (SDM vol. 2, section 2.1.1): its length in bytes, 0 where there
 * is none, or ERR_UNSUPPORTED where there may be one that cannot be run in one go. */
static int rep_length(const struct vcpu *vcpu)
{
    u8 bytes[INSN_MAX_LENGTH];
    u32 n = guest_fetch(vcpu, bytes, sizeof(bytes));
    bool rep = false, address_size = false;

    for (u32 i = 0; i < n; i++) {
        switch (bytes[i]) {
        case 0xf2:
        case 0xf3:
            rep = true;
            continue;
        case 0x67:
            address_size = true;
            continue;
        case 0x66:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x26:
        case 0x64:
        case 0x65:
            continue;
        }
        if ((bytes[i] & 0xf0) == 0x40 && code_mode() == DECODE_64)
            continue; /* REX */
        if (!rep)
            return 0;
        /* MOVS, CMPS, STOS, LODS, SCAS: A4-A7, AA-AF */
        if (bytes[i] < 0xa4 || bytes[i] > 0xaf || bytes[i] == 0xa8 || bytes[i] == 0xa9)
            return bytes[i] >= 0x6c && bytes[i] <= 0x6f ? ERR_UNSUPPORTED : 0; /* INS, OUTS */
        return address_size || code_mode() == DECODE_16 ? ERR_UNSUPPORTED : (int)i + 1;
    }
    return ERR_UNSUPPORTED; /* not readable: the careful answer */
}

/* Whether RF and RCX of a position are known. */
static bool has_place(const struct log_event *target)
{
    return target->has_regs || target->place;
}

/* Runs a REP in one go instead of stopping at each iteration: to its end, or, when the target is
 * inside this very execution of it, with a count that ends there. position_on_exit() adds the rest
 * of the count again, whatever the exit is. */
static bool start_rep(struct vcpu *vcpu, const struct log_event *target, int length)
{
    u64 *count = &vcpu->regs.gpr[GPR_RCX];

    if (length < 0)
        return false;
    position.rep_left = 0;
    if (vcpu->branches == target->branches && vcpu->regs.rip == target->regs.rip) {
        if (!has_place(target) || *count <= target->regs.gpr[GPR_RCX])
            return false;
        position.rep_left = target->regs.gpr[GPR_RCX];
    }
    position.in_rep = true;
    position.rep_rip = vcpu->regs.rip;
    position.rep_next = vcpu->regs.rip + (u64)length;
    *count -= position.rep_left;
    hv_set_breakpoint(position.rep_next, true);
    return true;
}

/* After the exit from such a run. */
static void finish_rep(struct vcpu *vcpu, const struct exit *exit)
{
    u64 *count = &vcpu->regs.gpr[GPR_RCX];
    bool done = exit->kind == EXIT_EXCEPTION && exit->u.event.vector == VECTOR_DB;

    position.in_rep = false;
    if (done && *count == 0 && position.rep_left != 0)
        vcpu->regs.rip = position.rep_rip;
    else if (!done && exit->kind == EXIT_EXCEPTION)
        position.step_once = true; /* the exception comes again, and goes to the guest */
    *count += position.rep_left;
}

/* Where linear addresses are those of RIP the target's is known. */
static bool breakpoint_usable(const struct vcpu *vcpu)
{
    return !position.step_once && hv_breakpoint_usable(vcpu) && (hv_read_cr0() & CR0_PE) &&
           hv_segment_base(SEG_CS) == 0;
}

bool position_needs_place(const struct vcpu *vcpu)
{
    return (vcpu->regs.rflags & RFLAGS_RF) || rep_length(vcpu) != 0;
}

static void go_to(struct vcpu *vcpu, const struct log_event *target)
{
    bool at_boundary = !vcpu->event.valid && !vcpu->halted;
    bool at_rip = at_boundary && vcpu->regs.rip == target->regs.rip;
    bool usable = breakpoint_usable(vcpu);
    /* RF would hold through all iterations of a REP and hide the breakpoint. */
    int rep = usable && at_boundary ? rep_length(vcpu) : 0;

    position.step_once = false;
    if (rep != 0) {
        if (!start_rep(vcpu, target, rep))
            hv_set_single_step(true);
        return;
    }
    /* A boundary with RF set, as after the IRET from a fault, is one that a breakpoint passes by.
     */
    if (!usable ||
        (has_place(target) && (target->regs.rflags & RFLAGS_RF) && !hv_stop_behind_iret(vcpu))) {
        hv_set_single_step(true);
        return;
    }
    hv_set_breakpoint(target->regs.rip, false);
    hv_pass_breakpoint(target->branches);
    if (at_rip)
        vcpu->regs.rflags |= RFLAGS_RF;
}

/* Where to go: the next asynchronous event or the debugger's goal, whichever has fewer branches.
 * NULL: nowhere. With as many, or without a RIP, a breakpoint does not do: *step. */
static const struct log_event *next_target(u64 now, bool *step)
{
    static struct log_event goal_target;
    const struct log_event *event = session_next_async();
    const struct position_goal *goal = position.goal;

    *step = goal != NULL && (goal->step || (event != NULL && event->branches == goal->branches));
    if (goal == NULL || goal->branches < now ||
        (event != NULL && event->branches <= goal->branches))
        return event;
    *step |= !goal->has_rip;
    goal_target = (struct log_event){.branches = goal->branches, .regs.rip = goal->rip};
    return &goal_target;
}

void position_prepare(struct vcpu *vcpu)
{
    u64 now = vcpu->branches;
    bool step;
    const struct log_event *target = next_target(now, &step);

    if (traps_nmi_count() != position.nmis) {
        position.nmis = traps_nmi_count();
        acknowledge_overflow();
    }
    if (position.goal != NULL && position.goal->step)
        hv_set_single_step(true);
    if (target == NULL) {
        position.steps = 0;
        return;
    }
    if (now > target->branches) {
        session_diverged(vcpu, "passed the position of an asynchronous event", NULL);
        return;
    }
    if (target->branches - now > position.margin) {
        position.steps = 0;
        arm(now, target->branches - position.margin);
        return;
    }
    if (step)
        hv_set_single_step(true);
    else
        go_to(vcpu, target);
    if (position.steps++ > STEPS_MAX)
        session_diverged(vcpu, "never came to the position of an asynchronous event", NULL);
}

bool position_run_towards(const struct vcpu *vcpu, u64 branches)
{
    u64 now = vcpu->branches;

    if (position.goal != NULL || branches < now || branches - now <= position.margin)
        return false;
    arm(now, branches - position.margin);
    return true;
}

void position_on_exit(struct vcpu *vcpu, struct exit *exit)
{
    hv_set_single_step(false);
    hv_clear_breakpoint();
    position.steps += exit->passed;
    if (exit->kind == EXIT_NMI)
        acknowledge_overflow();
    if (position.in_rep)
        finish_rep(vcpu, exit);
    if (exit->kind == EXIT_DEBUG_REGISTER)
        position.step_once = true;
    if (exit->kind == EXIT_EXCEPTION || exit->kind == EXIT_DEBUG_REGISTER || exit->kind == EXIT_NMI)
        exit->kind = EXIT_NONE;
}
