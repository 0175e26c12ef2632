#include "debug/travel.h"
#include "replay/position.h"

static struct {
    bool on;
    struct travel travel;
    struct travel_hit hit;
    struct position_goal goal;
} t;

/* Steps are looked at from a branch count on, to which the guest runs first. */
static void set_goal(const struct vcpu *vcpu)
{
    const struct run_position *to = &t.travel.to;
    bool steps = t.travel.look_back == LINK_LOOK_BACK_STEPS;

    t.goal = (struct position_goal){.branches = to->branches,
                                    .rip = to->rip,
                                    .has_rip = t.travel.flags & LINK_POSITION_FLAG_RIP,
                                    .step = steps};
    if (steps && vcpu != NULL && vcpu->branches < t.travel.steps_from)
        t.goal = (struct position_goal){.branches = t.travel.steps_from};
}

void travel_begin(const struct travel *travel)
{
    t.travel = *travel;
    t.on = true;
    t.hit = (struct travel_hit){0};
    set_goal(NULL);
    position_set_goal(&t.goal);
}

void travel_end(void)
{
    t.on = false;
    position_set_goal(NULL);
}

bool travel_looks_back(void)
{
    return t.on && t.travel.look_back != LINK_LOOK_BACK_NONE;
}

static bool there(const struct run_position *here)
{
    const struct run_position *to = &t.travel.to;

    if (!(t.travel.flags & LINK_POSITION_FLAG_RIP))
        return here->events >= to->events && here->branches >= to->branches;
    return here->events == to->events && here->branches == to->branches && here->rip == to->rip &&
           (!(t.travel.flags & LINK_POSITION_FLAG_CHECK) || here->check == to->check);
}

u8 travel_look(const struct vcpu *vcpu)
{
    struct run_position here;

    if (!t.on)
        return LINK_STOP_REASON_NONE;
    set_goal(vcpu);
    if (vcpu->branches < t.travel.to.branches)
        return LINK_STOP_REASON_NONE;
    here = run_position(vcpu);
    if (there(&here))
        return LINK_STOP_REASON_POSITION;
    if ((t.travel.flags & LINK_POSITION_FLAG_RIP) &&
        (here.branches > t.travel.to.branches || here.events > t.travel.to.events))
        return LINK_STOP_REASON_PASSED;
    return LINK_STOP_REASON_NONE;
}

void travel_step(const struct vcpu *vcpu)
{
    if (t.on && t.travel.look_back == LINK_LOOK_BACK_STEPS && !vcpu->event.valid &&
        vcpu->branches >= t.travel.steps_from)
        travel_met(vcpu, LINK_STOP_REASON_STEP, vcpu->regs.rip, 0, false);
}

void travel_met(const struct vcpu *vcpu, u8 reason, u64 address, u32 breakpoint, bool after)
{
    bool steps = t.travel.look_back == LINK_LOOK_BACK_STEPS;

    if (!t.on || steps != (reason == LINK_STOP_REASON_STEP))
        return;
    t.hit = (struct travel_hit){.hits = t.hit.hits + 1,
                                .at = run_position(vcpu),
                                .reason = reason,
                                .after = after,
                                .breakpoint = breakpoint,
                                .address = address};
}

const struct travel_hit *travel_last_hit(void)
{
    return &t.hit;
}
