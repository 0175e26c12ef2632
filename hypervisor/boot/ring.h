/* The monitor's words for a recording into a ring (docs/flight-recorder.md). */
#ifndef LVMM_BOOT_RING_H
#define LVMM_BOOT_RING_H

#include "core/vcpu.h"
#include "replay/epoch.h"

struct ring_settings {
    u64 size; /* bytes of the log region that are used; 0: no ring */
    struct epoch_limits limits;
};

/* False, told: a word is wrong. After guest_memory_init(). */
bool ring_read_words(const char *cmdline, struct ring_settings *ring);
/* epoch_init(), with memory at the log region's end. */
int ring_start(struct vcpu *vcpu, const struct ring_settings *ring);

#endif
