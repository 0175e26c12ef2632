/* Recording a part of a run: the guest, the debugger or a trigger says where it begins and ends. */
#ifndef LVMM_REPLAY_SEGMENT_H
#define LVMM_REPLAY_SEGMENT_H

#include "core/vcpu.h"

/* Record: nothing is logged before segment_begin(). */
void segment_wait(void);
/* Whether the guest stands where a recording can begin. */
bool segment_can_begin(const struct vcpu *vcpu);
/* Record: the recording begins here, at the end of an instruction. ERR_INVALID: it does already, or
 * it has ended, or this is no recording; ERR_NO_SPACE: the log has no room for the guest's memory;
 * ERR_UNSUPPORTED: this CPU has more state than the log knows. */
int segment_begin(struct vcpu *vcpu);
/* Record: the recording ends here, and the guest runs on. Replay: so does the run; checks memory
 * and console output. ERR_INVALID: nothing is being recorded. */
int segment_end(struct vcpu *vcpu);
/* Record: the same between two instructions, by the debugger. */
int segment_end_here(struct vcpu *vcpu);

#endif
