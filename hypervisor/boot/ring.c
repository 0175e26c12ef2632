#include "boot/ring.h"
#include "arch/tsc.h"
#include "board_config.h"
#include "boot/settings.h"
#include "core/page_journal.h"

#define KIB 1024ULL

/* An eighth of it, an epoch, is two chunks. */
#define RING_MIN_KIB 1024

#define EPOCH_MS_MAX     3600000
#define EPOCH_EVENTS_MAX 0xffffffff

bool ring_read_words(const char *cmdline, struct ring_settings *ring)
{
    u64 room = (LOG_SIZE - page_journal_size()) / KIB, ms = 0;

    if (!settings_number(cmdline, "ring", RING_MIN_KIB, room, "a number of KiB is", &ring->size) ||
        !settings_number(cmdline, "epoch-events", 0, EPOCH_EVENTS_MAX, "a number of events is",
                         &ring->limits.events) ||
        !settings_number(cmdline, "epoch-ms", 0, EPOCH_MS_MAX, "milliseconds are", &ms))
        return false;
    ring->size *= KIB;
    ring->limits.ticks = ms * (tsc_frequency() / 1000);
    return true;
}

/* The boot modules that may be there are in their places when the first epoch begins. */
int ring_start(struct vcpu *vcpu, const struct ring_settings *ring)
{
    return epoch_init(vcpu, (void *)(LOG_BASE + LOG_SIZE - page_journal_size()), &ring->limits);
}
