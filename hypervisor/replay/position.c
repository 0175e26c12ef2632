#include "replay/position.h"
#include "arch/pmu.h"
#include "arch/traps.h"
#include "replay/session.h"

/* Beyond the margin, instructions without a conditional branch may still follow the last counted
 * branch before the NMI is taken, and those must not pass the position either. */
#define SLACK 28

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
    bool stepping;
} position;

void position_init(u32 skid_margin)
{
    position.margin = skid_margin + SLACK;
    position.nmis = traps_nmi_count();
}

void position_overflow(void)
{
    pmu_acknowledge();
    position.armed = false;
}

static void stop_stepping(void)
{
    if (position.stepping)
        hv_set_single_step(false);
    position.stepping = false;
    position.steps = 0;
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

void position_prepare(struct vcpu *vcpu)
{
    const struct log_event *target = session_next_async();
    u64 now = vcpu->branches;

    if (traps_nmi_count() != position.nmis) {
        position.nmis = traps_nmi_count();
        position_overflow();
    }
    if (target == NULL) {
        stop_stepping();
        return;
    }
    if (now > target->branches) {
        session_diverged(vcpu, "passed the position of an asynchronous event", NULL);
        return;
    }
    if (target->branches - now > position.margin) {
        stop_stepping();
        arm(now, target->branches - position.margin);
        return;
    }
    if (!position.stepping)
        hv_set_single_step(true);
    position.stepping = true;
    if (position.steps++ > STEPS_MAX)
        session_diverged(vcpu, "never came to the position of an asynchronous event", NULL);
}
