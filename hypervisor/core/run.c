#include "core/run.h"
#include "arch/cpu.h"
#include "core/early_reads.h"
#include "core/guest_time.h"
#include "core/handlers.h"
#include "core/hints.h"
#include "core/hypercall.h"
#include "core/interrupts.h"
#include "core/page_fault.h"
#include "core/page_journal.h"
#include "core/passthrough.h"
#include "core/triggers.h"
#include "core/watchdog.h"
#include "debug/debugger.h"
#include "lib/printk.h"
#include "replay/checkpoint.h"
#include "replay/epoch.h"
#include "replay/position.h"
#include "replay/session.h"

/* How often the monitor comes back by itself: to look at its serial line, and for DMA that no
 * interrupt announces. In ticks of the time-stamp counter. */
#define TIME_SLICE 5000000

/* The same where a device finds work in memory, that nothing announces; and how many times as long
 * as looking for it takes the guest runs in between. */
#define WORK_SLICE 250000
#define WORK_SHARE 8

static u64 exit_counts[HV_REASON_COUNT];

static u64 next_look, next_work;

/* A guest that halts waits for what it has just given the device. */
static void look_for_work(struct vcpu *vcpu, const struct exit *exit, u64 now)
{
    bool finds_work = session_recording() && !session_ended() && passthrough_finds_work();
    u64 cost;

    hv_set_timer(finds_work ? WORK_SLICE : TIME_SLICE);
    if (!finds_work || (exit->kind != EXIT_HLT && now < next_work && next_work - now <= TIME_SLICE))
        return;
    passthrough_find_work(vcpu);
    cost = rdtsc() - now;
    next_work = now + cost + (cost * WORK_SHARE > WORK_SLICE ? cost * WORK_SHARE : WORK_SLICE);
}

/* The preemption timer starts anew at each entry: with a guest that exits often it never fires, so
 * every exit looks at the clock. Not while an event is being delivered: that is no boundary. */
static void look_around(struct vcpu *vcpu, const struct exit *exit)
{
    u64 now = rdtsc();

    if (vcpu->event.valid)
        return;
    look_for_work(vcpu, exit, now);
    /* The guest may set the counter back. */
    if (now < next_look && next_look - now <= TIME_SLICE)
        return;
    next_look = now + TIME_SLICE;
    debugger_poll();
    if (!session_replaying() && watchdog_look(vcpu, TIME_SLICE))
        session_end(vcpu, LOG_END_REASON_WATCHDOG, true);
    if (session_recording() && !session_ended()) {
        passthrough_harvest(vcpu);
        hints_harvest(vcpu);
    }
}

static int handle(struct vcpu *vcpu, const struct exit *exit)
{
    switch (exit->kind) {
    case EXIT_NONE:
    case EXIT_INTERRUPT_WINDOW:
    case EXIT_STEP:
    case EXIT_IRET:
    case EXIT_TIMER:
        return 0;
    case EXIT_EXTERNAL_INTERRUPT:
        if (!session_replaying()) /* in replay nothing of the machine reaches the guest */
            interrupts_pending(vcpu);
        return 0;
    case EXIT_NMI:
        interrupts_nmi_arrived();
        return 0;
    case EXIT_PAUSE:
        guest_time_guest_waits();
        return 0;
    case EXIT_CPUID:
        return handle_cpuid(vcpu, exit);
    case EXIT_HLT:
        return handle_hlt(vcpu, exit);
    case EXIT_RDTSC:
    case EXIT_RDTSCP:
        return handle_rdtsc(vcpu, exit);
    case EXIT_RDPMC:
        return handle_rdpmc(vcpu, exit);
    case EXIT_RDRAND:
    case EXIT_RDSEED:
        return handle_random(vcpu, exit);
    case EXIT_IO:
        return handle_io(vcpu, exit);
    case EXIT_RDMSR:
        return handle_rdmsr(vcpu, exit);
    case EXIT_WRMSR:
        return handle_wrmsr(vcpu, exit);
    case EXIT_MEMORY:
        return handle_memory(vcpu, exit);
    case EXIT_CR0:
    case EXIT_CR4:
        return handle_cr(vcpu, exit);
    case EXIT_CR8:
        return handle_cr8(vcpu, exit);
    case EXIT_XSETBV:
        return handle_xsetbv(vcpu, exit);
    case EXIT_INVD:
        /* The monitor's own data is in the caches: write back instead of dropping it. */
        __asm__ volatile("wbinvd" : : : "memory");
        complete(vcpu, exit);
        return 0;
    case EXIT_HYPERCALL:
        return handle_hypercall(vcpu, exit);
    case EXIT_UNDEFINED:
        hv_inject_exception(vcpu, VECTOR_UD, false, 0);
        return 0;
    case EXIT_TRIPLE_FAULT:
        session_end(vcpu, LOG_END_REASON_TRIPLE_FAULT, false);
        return 0;
    case EXIT_EXCEPTION:
    case EXIT_DEBUG_REGISTER:
    case EXIT_UNHANDLED:
        break;
    }
    return ERR_UNSUPPORTED;
}

static void give_up(struct vcpu *vcpu, const struct exit *exit)
{
    printk("{\"lvmm\":\"error\",\"text\":\"%s: %s (%x), qualification %lx, RIP %lx\"}\n",
           exit->reason & 0x80000000 ? "VM entry failed" : "VM exit that lvmm does not handle",
           hv_reason_name(exit->reason), exit->reason, exit->qualification, vcpu->regs.rip);
    session_end(vcpu, LOG_END_REASON_MONITOR_ERROR, true);
}

u64 run_exit_count(u32 reason)
{
    return exit_counts[reason];
}

static void report_exits(void)
{
    for (u32 i = 0; i < HV_REASON_COUNT; i++)
        if (exit_counts[i] != 0)
            printk("{\"lvmm\":\"exits\",\"reason\":\"%s\",\"count\":%lu}\n", hv_reason_name(i),
                   exit_counts[i]);
}

/* What must happen at a boundary, before the guest goes on. True: enter it. */
static bool prepare(struct vcpu *vcpu)
{
    triggers_boundary(vcpu);
    if (session_ended())
        return false;
    if (session_replaying()) {
        session_apply_due(vcpu);
        if (!session_ended())
            position_prepare(vcpu);
    } else if (epoch_boundary(vcpu) < 0) {
        return false;
    } else if ((!debugger_stepping() || vcpu->halted) && interrupts_deliver(vcpu) < 0) {
        return false;
    }
    return !session_ended();
}

void run_guest(struct vcpu *vcpu)
{
    struct exit exit = {.kind = EXIT_NONE};

    hv_set_timer(TIME_SLICE);
    interrupts_init();
    while (debugger_boundary(vcpu)) {
        checkpoints_look(vcpu);
        if (!prepare(vcpu))
            break;
        debugger_before_entry(vcpu);
        guest_time_before_entry(vcpu);
        if (hv_run(vcpu, &exit) < 0) {
            session_end(vcpu, LOG_END_REASON_MONITOR_ERROR, true);
            break;
        }
        session_next_exit();
        exit_counts[(exit.reason & 0xffff) % HV_REASON_COUNT]++;
        exit_counts[HV_REASON_EXCEPTION] += exit.passed;
        if (page_journal_handle(&exit) || page_fault_handle(vcpu, &exit))
            exit.kind = EXIT_NONE;
        debugger_after_exit(vcpu, &exit);
        /* An interrupt that was recorded here comes before what the guest was about to do. */
        if (session_replaying()) {
            position_on_exit(vcpu, &exit);
            if (!debugger_arrival(vcpu) || session_apply_due(vcpu) || debugger_moved())
                continue;
        }
        watchdog_exit(&exit);
        look_around(vcpu, &exit);
        if (session_ended())
            break;
        if (handle(vcpu, &exit) < 0 && !session_ended())
            give_up(vcpu, &exit);
    }
    report_exits();
    passthrough_report();
    early_reads_report();
}
