/* What is told when a replay leaves its recording. tools/lvmm/divergence makes it readable. */
#ifndef LVMM_REPLAY_DIVERGENCE_H
#define LVMM_REPLAY_DIVERGENCE_H

#include "core/vcpu.h"
#include "replay/log_codec.h"

struct divergence {
    const char *why;
    u64 event;                        /* number of the event that did not match */
    const struct log_event *expected; /* NULL: the recording is over */
    u8 actual_kind;                   /* 0: the guest asked for nothing */
    const struct log_event *actual;
    struct log_regs regs; /* actual */
    u64 branches;         /* actual */
    u32 out_crc;
};

/* Prints one JSON object of kind "divergence" on the monitor's line. */
void divergence_print(const struct vcpu *vcpu, const struct divergence *d);

#endif
