/* Recording into a ring: epochs, from each of which on the log can be replayed when what was before
 * has been overwritten. */
#ifndef LVMM_REPLAY_EPOCH_H
#define LVMM_REPLAY_EPOCH_H

#include "core/vcpu.h"

/* How long an epoch lasts. A limit of 0 is none; an eighth of the ring always is one. */
struct epoch_limits {
    u64 events;
    u64 ticks; /* of the time-stamp counter */
};

/* Makes epochs from now on. `memory` is page-aligned and has page_journal_size() bytes. Before the
 * guest's first instruction. ERR_UNSUPPORTED, told, where the log cannot hold this CPU's state. */
int epoch_init(struct vcpu *vcpu, void *memory, const struct epoch_limits *limits);
/* At a boundary, before an event is injected: begins an epoch where one is due and can begin.
 * Negative: the run is over. */
int epoch_boundary(struct vcpu *vcpu);
/* Begins one here, whatever is due: at the end of an instruction, with no event to be delivered. */
int epoch_begin(struct vcpu *vcpu);

/* Whether the recording has epochs. */
bool epoch_on(void);

#endif
