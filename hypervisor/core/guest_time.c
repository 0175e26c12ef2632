#include "core/guest_time.h"
#include "arch/cpu.h"
#include "replay/position.h"
#include "replay/session.h"

/* Ticks that a conditional branch and the code around it take, at least in the mean: a low
 * estimate, for the counter must stay behind the machine's. */
#define TICKS_PER_BRANCH 6

/* Ticks that an exit to the monitor and back takes at least, whatever is done there. */
#define TICKS_PER_EXIT 1000

/* How far the guest's counter may be behind when it is read, in ticks: some ten microseconds. Less
 * for a guest that waits until the counter has come somewhere: it would wait as long each time. */
#define LAG_MAX      131072
#define LAG_MAX_SPIN 4096

/* Such a guest reads it so soon after the timer. */
#define SPIN_BRANCHES 16

/* How many ticks it may be in a loop with PAUSE until it is known to wait: first after it has
 * accessed a device, where drivers wait for short times; twice as many after each time. */
#define PATIENCE_MIN 512
#define PATIENCE_MAX LAG_MAX_SPIN

/* It is not worth an event to make up for less: an interrupt comes within fewer ticks of the DMA
 * that it tells of. */
#define CATCH_UP_MIN 4096

static struct {
    u64 tsc;      /* what the guest reads; 0: not known */
    u64 branches; /* at the last advance */
    u64 earliest; /* record: as many branches have come after any reading that was not logged */
    bool still;   /* readings do not exit */
    bool spins;   /* record: the last logged reading was that of a guest that waits */
    bool waits;   /* record: the guest has just been found in a loop with PAUSE */
    u32 patience;
} guest_time;

void guest_time_advance(const struct vcpu *vcpu)
{
    guest_time.patience = PATIENCE_MIN;
    if (guest_time.tsc == 0)
        return;
    guest_time.tsc += (vcpu->branches - guest_time.branches) * TICKS_PER_BRANCH + TICKS_PER_EXIT;
    guest_time.branches = vcpu->branches;
}

void guest_time_set(const struct vcpu *vcpu, u64 tsc)
{
    guest_time.tsc = tsc;
    guest_time.branches = vcpu->branches;
}

void guest_time_save(struct log_cpu_state *out)
{
    out->guest_tsc = guest_time.tsc;
    out->guest_tsc_branches = guest_time.branches;
}

void guest_time_restore(const struct log_cpu_state *from)
{
    guest_time.tsc = from->guest_tsc;
    guest_time.branches = from->guest_tsc_branches;
}

u64 guest_time_now(void)
{
    return guest_time.tsc;
}

bool guest_time_catch_up(struct vcpu *vcpu)
{
    u64 now = log_ticks(rdtsc());

    if (guest_time.tsc == 0 || (s64)(now - guest_time.tsc) < CATCH_UP_MIN ||
        !session_record_clock(vcpu, now))
        return false;
    guest_time_set(vcpu, now);
    return true;
}

/* The guest may have set the machine's counter back: then this is very large. */
static u64 lag(void)
{
    return rdtsc() - guest_time.tsc;
}

static bool is_reading(const struct log_event *e)
{
    return e != NULL && (e->kind == LOG_EVENT_RDTSC || e->kind == LOG_EVENT_RDTSCP);
}

static u64 lag_max(void)
{
    if (guest_time.waits)
        return 0;
    return guest_time.spins ? LAG_MAX_SPIN : LAG_MAX;
}

static bool logs_reading(const struct vcpu *vcpu)
{
    if (lag() >= lag_max() && vcpu->branches >= guest_time.earliest) {
        guest_time.spins = vcpu->branches - guest_time.earliest < SPIN_BRANCHES;
        guest_time.waits = false;
        return true;
    }
    guest_time.earliest = vcpu->branches + 1;
    return false;
}

bool guest_time_logged(const struct vcpu *vcpu)
{
    const struct log_event *next;

    if (guest_time.tsc == 0)
        return true;
    if (!session_replaying())
        return logs_reading(vcpu);
    next = session_peek();
    return is_reading(next) && next->branches == vcpu->branches;
}

/* Until the timer says that the counter is too far behind. */
static bool stands_still_in_record(const struct vcpu *vcpu)
{
    u64 behind = lag();

    if (guest_time.still)
        guest_time.earliest = vcpu->branches + 1;
    if (behind >= lag_max() || vcpu->halted)
        return false;
    hv_limit_timer(lag_max() - behind);
    return true;
}

/* Until the guest comes near the next reading that was logged. */
static bool stands_still_in_replay(const struct vcpu *vcpu)
{
    const struct log_event *next = session_peek();

    return !is_reading(next) || position_run_towards(vcpu, next->branches);
}

void guest_time_guest_waits(void)
{
    guest_time.waits = true;
    if (guest_time.patience < PATIENCE_MAX)
        guest_time.patience *= 2;
}

void guest_time_before_entry(const struct vcpu *vcpu)
{
    if (!session_recording() && !session_replaying())
        return;
    guest_time.still = guest_time.tsc != 0 && (session_replaying() ? stands_still_in_replay(vcpu)
                                                                   : stands_still_in_record(vcpu));
    hv_fix_tsc(guest_time.still, guest_time.tsc);
    hv_exit_from_pause_loop(guest_time.still && session_recording() ? guest_time.patience : 0);
}
