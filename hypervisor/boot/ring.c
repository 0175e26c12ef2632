#include "boot/ring.h"
#include "arch/tsc.h"
#include "board_config.h"
#include "core/page_journal.h"
#include "lib/printk.h"
#include "lib/text.h"

#define KIB 1024ULL

/* An eighth of it, an epoch, is two chunks. */
#define RING_MIN_KIB 1024

#define EPOCH_MS_MAX     3600000
#define EPOCH_EVENTS_MAX 0xffffffff

/* False: the word is there, and no number up to `max`. */
static bool read_number(const char *cmdline, const char *word, u64 max, u64 *value)
{
    char text[32];

    if (text_option(cmdline, word, text, sizeof(text)) < 0)
        return true;
    if (text_number(text, value) == 0 && *value <= max)
        return true;
    printk("lvmm: %s=%s: a number is needed, 0 to %lu\n", word, text, max);
    return false;
}

bool ring_read_words(const char *cmdline, struct ring_settings *ring)
{
    u64 room = (LOG_SIZE - page_journal_size()) / KIB, ms = 0;
    char text[32];

    if (text_option(cmdline, "ring", text, sizeof(text)) < 0)
        return true;
    if (text_number(text, &ring->size) < 0 || ring->size < RING_MIN_KIB || ring->size > room) {
        printk("lvmm: ring=%s: a number of KiB is needed, %u to %lu\n", text, RING_MIN_KIB, room);
        return false;
    }
    ring->size *= KIB;
    if (!read_number(cmdline, "epoch-events", EPOCH_EVENTS_MAX, &ring->limits.events) ||
        !read_number(cmdline, "epoch-ms", EPOCH_MS_MAX, &ms))
        return false;
    ring->limits.ticks = ms * (tsc_frequency() / 1000);
    return true;
}

/* The boot modules that may be there are in their places when the first epoch begins. */
int ring_start(struct vcpu *vcpu, const struct ring_settings *ring)
{
    return epoch_init(vcpu, (void *)(LOG_BASE + LOG_SIZE - page_journal_size()), &ring->limits);
}
