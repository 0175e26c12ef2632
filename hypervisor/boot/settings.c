#include "boot/settings.h"
#include "board_config.h"
#include "lib/printk.h"
#include "lib/text.h"
#include "log_format.h"

#define KIB 1024ULL
#define MIB 0x100000ULL

/* A page, a console ring of 64 KiB and a few chunks. */
#define LOG_MIN_KIB 256

#define WATCHDOG_MAX 86400  /* seconds */
#define SENT_MAX     262144 /* bytes: more than any frame has, before segmentation too */
#define DRIVE_MAX    255

static bool has(const char *cmdline, const char *name)
{
    char text[32];

    return text_option(cmdline, name, text, sizeof(text)) >= 0;
}

bool settings_number(const char *cmdline, const char *name, u64 min, u64 max, const char *what,
                     u64 *value)
{
    char text[32];

    if (text_option(cmdline, name, text, sizeof(text)) < 0)
        return true;
    if (text_number(text, value) == 0 && *value >= min && *value <= max)
        return true;
    printk("lvmm: %s=%s: %s needed, %lu to %lu\n", name, text, what, min, max);
    return false;
}

static bool read_mode(const char *cmdline, u32 *mode)
{
    char text[32];

    *mode = LOG_MODE_RECORD;
    if (text_option(cmdline, "mode", text, sizeof(text)) < 0 || text_equal(text, "record"))
        return true;
    if (text_equal(text, "live") || text_equal(text, "replay")) {
        *mode = text_equal(text, "live") ? LOG_MODE_LIVE : LOG_MODE_REPLAY;
        return true;
    }
    printk("lvmm: mode=%s: it is record, replay or live\n", text);
    return false;
}

bool settings_read(const char *cmdline, struct settings *settings)
{
    settings->guest_memory = GUEST_DEFAULT_MIB;
    settings->sent = SENT_MAX;
    if (!read_mode(cmdline, &settings->mode) ||
        !settings_number(cmdline, "memory", 2, GUEST_MAX_MIB, "the guest's memory in MiB is",
                         &settings->guest_memory) ||
        !settings_number(cmdline, "watchdog", 0, WATCHDOG_MAX, "seconds are",
                         &settings->watchdog) ||
        !settings_number(cmdline, "sent", 0, SENT_MAX, "bytes of each sent frame are",
                         &settings->sent) ||
        !settings_number(cmdline, "log", LOG_MIN_KIB, LOG_SIZE / KIB, "a number of KiB is",
                         &settings->log_size) ||
        !settings_number(cmdline, "disk", 0, DRIVE_MAX, "the BIOS's number of a disk is",
                         &settings->drive) ||
        !settings_number(cmdline, "checkpoints", 0, ~0ULL, "a number of branches is",
                         &settings->checkpoints))
        return false;
    settings->guest_memory *= MIB;
    settings->log_size *= KIB;
    settings->wait = has(cmdline, "wait");
    settings->disk = has(cmdline, "disk");
    settings->probe = has(cmdline, "probe");
    settings->wait_for_room = has(cmdline, "wait-for-room");
    settings->resume = has(cmdline, "resume");
    settings->on_demand = has(cmdline, "on-demand");
    settings->early_reads = has(cmdline, "early-reads");
    return true;
}
