#include "core/guest_time.h"

/* Ticks that a conditional branch and the code around it take, at least in the mean: a low
 * estimate, for the prediction must stay behind the machine. */
#define TICKS_PER_BRANCH 6

/* Ticks that an exit to the monitor and back takes at least, whatever is done there. */
#define TICKS_PER_EXIT 1000

/* How far the guest's counter may be behind, in ticks: some ten microseconds. */
#define LAG_MAX 32768

static struct {
    u64 tsc, branches; /* at the last anchor */
    u64 exits;         /* since then */
    u64 elided_branches, elided_rip;
    bool elided;
} guest_time;

void guest_time_exit(void)
{
    guest_time.exits++;
}

void guest_time_anchor(const struct vcpu *vcpu, u64 tsc)
{
    guest_time.tsc = tsc;
    guest_time.branches = vcpu->branches;
    guest_time.exits = 0;
    guest_time.elided = false;
}

void guest_time_save(struct log_cpu_state *out)
{
    /* 0: not known */
    out->guest_tsc = guest_time.tsc ? guest_time.tsc + guest_time.exits * TICKS_PER_EXIT : 0;
    out->guest_tsc_branches = guest_time.branches;
}

void guest_time_restore(const struct log_cpu_state *from)
{
    guest_time.tsc = from->guest_tsc;
    guest_time.branches = from->guest_tsc_branches;
    guest_time.exits = 0;
    guest_time.elided = false;
}

u64 guest_time_predict(const struct vcpu *vcpu)
{
    return guest_time.tsc + (vcpu->branches - guest_time.branches) * TICKS_PER_BRANCH +
           guest_time.exits * TICKS_PER_EXIT;
}

bool guest_time_known(void)
{
    return guest_time.tsc != 0;
}

bool guest_time_elide(const struct vcpu *vcpu, u64 tsc)
{
    /* A reading that is logged must not be at the position of one that was not: replay tells them
     * apart by their positions. */
    bool same_place = guest_time.elided && guest_time.elided_branches == vcpu->branches &&
                      guest_time.elided_rip == vcpu->regs.rip;

    if (!same_place && tsc - guest_time_predict(vcpu) >= LAG_MAX)
        return false;
    guest_time.elided = true;
    guest_time.elided_branches = vcpu->branches;
    guest_time.elided_rip = vcpu->regs.rip;
    return true;
}

bool guest_time_ambiguous(const struct vcpu *vcpu)
{
    return guest_time.elided && guest_time.elided_branches == vcpu->branches;
}
