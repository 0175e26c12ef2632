#include "core/watchdog.h"
#include "arch/tsc.h"
#include "arch/msr_index.h"
#include "lib/printk.h"

static struct {
    u64 limit; /* ticks, 0: off */
    u64 stuck; /* ticks without progress */
    bool progress;
} watchdog;

int watchdog_init(u64 seconds)
{
    watchdog.limit = seconds * tsc_frequency();
    if (seconds != 0 && watchdog.limit == 0) {
        printk("lvmm: watchdog=%lu: CPUID does not tell how fast the time-stamp counter is\n",
               seconds);
        return ERR_UNSUPPORTED;
    }
    return 0;
}

void watchdog_exit(const struct exit *exit)
{
    switch (exit->kind) {
    case EXIT_NONE:
    case EXIT_EXTERNAL_INTERRUPT:
    case EXIT_NMI:
    case EXIT_EXCEPTION:
    case EXIT_INTERRUPT_WINDOW:
    case EXIT_STEP:
    case EXIT_IRET:
    case EXIT_TIMER:
    case EXIT_PAUSE:
    case EXIT_DEBUG_REGISTER:
        break;
    default:
        watchdog.progress = true;
    }
}

bool watchdog_look(const struct vcpu *vcpu, u64 ticks)
{
    bool progress = watchdog.progress || (vcpu->regs.rflags & RFLAGS_IF);

    watchdog.progress = false;
    watchdog.stuck = progress ? 0 : watchdog.stuck + ticks;
    return watchdog.limit != 0 && watchdog.stuck >= watchdog.limit;
}
