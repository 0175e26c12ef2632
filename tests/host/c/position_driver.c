/* Replays a small guest up to positions, with replay/position.c on a model of the CPU.
 *
 * stdin: the margin, a seed, the units to run, then `count` and the guest's instructions, a line
 * each: kind and argument (enum kind); then `count` and the positions, by the unit executed before
 * them (an instruction, or one iteration of a REP), ascending. The guest runs once without a
 * monitor, interrupted there, and once more with position.c. A line for each position: the unit at
 * which the guest was stopped, or why there was none; then a line with the number of exits. */
#include "arch/msr_index.h"
#include "arch/pmu.h"
#include "arch/traps.h"
#include "core/guest_linear.h"
#include "replay/position.h"
#include "replay/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum kind {
    PLAIN,
    LOOP,  /* argument: the instruction to go back to, 256 * the times to do so */
    REP,   /* MOVSB */
    COUNT, /* RCX = argument */
    IRET,  /* sets RFLAGS.RF for the next instruction */
    EXITS, /* one that exits */
    MOVSS, /* blocks an NMI for one instruction */
};

#define INSNS_MAX     256
#define POSITIONS_MAX 64
#define BASE          0x1000
#define INSN_SIZE     4

struct guest {
    struct vcpu vcpu;
    unsigned int left[INSNS_MAX]; /* times that a LOOP still goes back */
    u64 units;
};

static struct {
    enum kind kind;
    unsigned int argument;
} insns[INSNS_MAX];
static unsigned int insn_count;

static struct {
    u64 units;
    struct log_event event;
} positions[POSITIONS_MAX];
static unsigned int position_count, next_position;

static struct guest guest;
static unsigned int margin;
static const char *diverged;
static u64 last_unit;

/* What is armed on the CPU. */
static bool single_step, breakpoint, iret_stop;
static u64 breakpoint_at, pass_below;
static u64 overflow_at, nmi_at; /* branches, 0: none */
static u64 exits;

static u64 random_below(u64 limit)
{
    static u64 state = 1;

    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % limit;
}

static unsigned int at(const struct guest *g)
{
    return (unsigned int)((g->vcpu.regs.rip - BASE) / INSN_SIZE) % insn_count;
}

static void go(struct guest *g, unsigned int insn)
{
    g->vcpu.regs.rip = BASE + (u64)(insn % insn_count) * INSN_SIZE;
}

/* One unit of execution. */
static void execute(struct guest *g)
{
    unsigned int i = at(g), times = insns[i].argument / 256;
    u64 *rcx = &g->vcpu.regs.gpr[GPR_RCX];
    bool rf = false, stay = false;

    if (insns[i].kind == LOOP) {
        g->vcpu.branches++;
        if (g->left[i] == 0)
            g->left[i] = times + 1;
        stay = --g->left[i] != 0;
        if (stay)
            go(g, insns[i].argument % 256);
    } else if (insns[i].kind == COUNT) {
        *rcx = insns[i].argument;
    } else if (insns[i].kind == IRET) {
        rf = true;
    } else if (insns[i].kind == REP && *rcx != 0) {
        stay = --*rcx != 0;
        rf = stay && (g->vcpu.regs.rflags & RFLAGS_RF);
    }
    g->units++;
    if (!stay)
        go(g, i + 1);
    g->vcpu.regs.rflags &= ~RFLAGS_RF;
    if (rf)
        g->vcpu.regs.rflags |= RFLAGS_RF;
}

/* The counter's interrupt comes any number of instructions late, but before there are more branches
 * than the margin allows. */
static bool nmi_is_taken(enum kind next)
{
    if (nmi_at == 0 || guest.vcpu.branches < nmi_at)
        return false;
    return guest.vcpu.branches + (next == LOOP) > overflow_at + margin || random_below(4) == 0;
}

/* The CPU between VM entry and VM exit. */
static void run(struct exit *exit)
{
    struct vcpu *vcpu = &guest.vcpu;
    bool blocked = false;

    *exit = (struct exit){.kind = EXIT_NONE};
    for (bool first = true; guest.units <= last_unit; first = false) {
        enum kind kind = insns[at(&guest)].kind;
        u64 before = vcpu->branches;

        if (!first && single_step) {
            exit->kind = EXIT_STEP;
            break;
        }
        if (nmi_is_taken(kind) && !blocked) {
            exit->kind = EXIT_NMI;
            break;
        }
        if (breakpoint && vcpu->regs.rip == breakpoint_at && !(vcpu->regs.rflags & RFLAGS_RF)) {
            exit->kind = EXIT_EXCEPTION;
            exit->u.event.vector = 1;
            if (vcpu->branches >= pass_below)
                break;
            exit->passed++;
            vcpu->regs.rflags |= RFLAGS_RF;
        }
        /* Now and then the page of a REP's data is one that exits. */
        if (kind == EXITS || (kind == REP && random_below(20) == 0)) {
            exit->kind = kind == EXITS ? EXIT_CPUID : EXIT_MEMORY;
            break;
        }
        execute(&guest);
        blocked = kind == MOVSS;
        if (before < overflow_at && vcpu->branches >= overflow_at)
            nmi_at = vcpu->branches + random_below(margin + 1);
        if (kind == IRET && iret_stop) {
            exit->kind = EXIT_IRET;
            break;
        }
    }
    /* An overflow whose interrupt is still under way comes now, in the monitor. */
    exits++;
    iret_stop = false;
}

void pmu_arm(u64 branches)
{
    overflow_at = guest.vcpu.branches + branches;
    nmi_at = 0;
}

static u64 nmis_in_monitor;

void pmu_acknowledge(void)
{
    overflow_at = nmi_at = 0;
}

u64 traps_nmi_count(void)
{
    return nmis_in_monitor;
}

void hv_set_single_step(bool on)
{
    single_step = on;
}

void hv_set_breakpoint(u64 linear, bool exceptions)
{
    (void)exceptions;
    breakpoint = true;
    breakpoint_at = linear;
    pass_below = 0;
}

void hv_pass_breakpoint(u64 branches)
{
    pass_below = branches;
}

void hv_clear_breakpoint(void)
{
    breakpoint = false;
    pass_below = 0;
}

bool hv_breakpoint_usable(const struct vcpu *vcpu)
{
    (void)vcpu;
    return true;
}

bool hv_stop_behind_iret(const struct vcpu *vcpu)
{
    (void)vcpu;
    iret_stop = true;
    return true;
}

u64 hv_read_cr0(void)
{
    return CR0_PE;
}

u64 hv_read_efer(void)
{
    return EFER_LMA;
}

u32 hv_segment_access(enum segment_index i)
{
    (void)i;
    return BIT(13); /* CS.L */
}

u64 hv_segment_base(enum segment_index i)
{
    (void)i;
    return 0;
}

/* A REP has all of its instruction's length in bytes, so that its end is where the model has it. */
u32 guest_fetch(const struct vcpu *vcpu, u8 *buf, u32 len)
{
    static const u8 rep[INSN_SIZE] = {0x2e, 0x2e, 0xf3, 0xa4}, nop[INSN_SIZE] = {0x90};
    const u8 *code = insns[at(&guest)].kind == REP ? rep : nop;

    (void)vcpu;
    for (u32 i = 0; i < INSN_SIZE && i < len; i++)
        buf[i] = code[i];
    return INSN_SIZE;
}

const struct log_event *session_next_async(void)
{
    return next_position < position_count ? &positions[next_position].event : NULL;
}

void session_diverged(struct vcpu *vcpu, const char *why, const struct log_event *actual)
{
    (void)vcpu;
    (void)actual;
    diverged = why;
}

/* As session_at() does by the registers' check. */
static bool arrived(const struct vcpu *vcpu)
{
    const struct log_event *e = &positions[next_position].event;

    return next_position < position_count && vcpu->branches == e->branches &&
           vcpu->regs.rip == e->regs.rip &&
           vcpu->regs.gpr[GPR_RCX] == positions[next_position].event.regs.gpr[GPR_RCX];
}

static bool apply_due(struct vcpu *vcpu)
{
    bool any = false;

    while (arrived(vcpu)) {
        printf("%" PRIu64 "\n", guest.units);
        vcpu->regs.rflags &= ~RFLAGS_RF;
        next_position++;
        any = true;
    }
    return any;
}

static void start(void)
{
    guest = (struct guest){.vcpu.regs.rip = BASE};
}

static void record(void)
{
    start();
    for (; guest.units <= last_unit; execute(&guest)) {
        for (unsigned int i = 0; i < position_count; i++) {
            struct log_event *e = &positions[i].event;

            if (positions[i].units != guest.units)
                continue;
            *e = (struct log_event){.async = true, .has_check = true};
            e->branches = guest.vcpu.branches;
            e->regs = guest.vcpu.regs;
            e->place = position_needs_place(&guest.vcpu);
            guest.vcpu.regs.rflags &= ~RFLAGS_RF;
        }
    }
}

static void replay(void)
{
    struct vcpu *vcpu = &guest.vcpu;
    struct exit exit;

    start();
    position_init(margin);
    for (;;) {
        apply_due(vcpu);
        if (next_position == position_count)
            break;
        if (guest.units > last_unit)
            diverged = "passed the last position";
        else
            position_prepare(vcpu);
        if (diverged != NULL)
            break;
        run(&exit);
        if (exit.kind != EXIT_NMI && nmi_at != 0) {
            nmi_at = 0;
            nmis_in_monitor++;
        }
        position_on_exit(vcpu, &exit);
        if (apply_due(vcpu))
            continue;
        if (exit.kind == EXIT_CPUID)
            execute(&guest);
    }
    if (diverged != NULL)
        printf("%s\n", diverged);
    printf("%" PRIu64 "\n", exits);
}

int main(void)
{
    u64 seed;

    if (scanf("%u %" SCNu64 " %" SCNu64 " %u", &margin, &seed, &last_unit, &insn_count) != 4 ||
        insn_count == 0 || insn_count > INSNS_MAX)
        return 2;
    for (u64 i = 0; i < seed; i++)
        random_below(2);
    for (unsigned int i = 0; i < insn_count; i++) {
        unsigned int kind;

        if (scanf("%u %u", &kind, &insns[i].argument) != 2)
            return 2;
        insns[i].kind = (enum kind)kind;
    }
    if (scanf("%u", &position_count) != 1 || position_count > POSITIONS_MAX)
        return 2;
    for (unsigned int i = 0; i < position_count; i++)
        if (scanf("%" SCNu64, &positions[i].units) != 1)
            return 2;
    record();
    replay();
    return 0;
}
