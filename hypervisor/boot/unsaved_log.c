#include "boot/unsaved_log.h"
#include "board_config.h"
#include "lib/printk.h"
#include "lib/text.h"
#include "replay/log_region.h"

#define ID_DIGITS 16

struct permission {
    bool any;
    bool has_id;
    u64 id;
};

/* IDs are written as everywhere: hexadecimal digits without 0x. */
static bool read_permission(const char *cmdline, struct permission *permission)
{
    char text[32] = "0x", *value = text + 2;
    int length = text_option(cmdline, "overwrite", value, sizeof(text) - 2);

    *permission = (struct permission){false, false, 0};
    if (length < 0)
        return true;
    permission->any = text_equal(value, "any");
    permission->has_id =
        !permission->any && length <= ID_DIGITS && text_number(text, &permission->id) == 0;
    if (permission->any || permission->has_id)
        return true;
    printk("lvmm: overwrite=%s: it is the ID of the recording that may go, or any\n", value);
    return false;
}

/* The boot loader puts modules where it finds room, and knows nothing of the region. */
static void report_modules(const struct boot_info *boot)
{
    for (unsigned int i = 0; i < boot->module_count; i++) {
        const struct boot_module *m = &boot->modules[i];

        if (m->start < LOG_BASE + LOG_SIZE && m->start + m->size > LOG_BASE)
            printk("lvmm: the boot loader has put a module (%s) into the log region, at %lx-%lx: "
                   "what was there is lost\n",
                   m->role, m->start, m->start + m->size - 1);
    }
}

bool unsaved_log_region_is_free(const struct boot_info *boot)
{
    struct log_region_found found;
    struct permission permission;
    bool ours;

    if (!read_permission(boot->cmdline, &permission))
        return false;
    if (!log_region_holds_any((const void *)LOG_BASE, LOG_SIZE, &found) || found.taken)
        return true;
    ours = found.format_version == LOG_FORMAT_VERSION;
    if (permission.any || (permission.has_id && ours && permission.id == found.recording_id)) {
        printk("lvmm: the log of an earlier run is overwritten (overwrite=%s)\n",
               permission.any ? "any" : "its ID");
        return true;
    }
    report_modules(boot);
    if (found.damaged && ours)
        printk("lvmm: memory still holds parts of a log, recording %016lx; the header of their "
               "region is damaged, and nothing was written: save them (docs/after-a-crash.md), "
               "then boot with overwrite=%016lx on the monitor's command line\n",
               found.recording_id, found.recording_id);
    else if (ours)
        printk("lvmm: memory still holds the log of an earlier run, recording %016lx (%lu events, "
               "%lu bytes), and nothing was written: save it (docs/after-a-crash.md), then boot "
               "with overwrite=%016lx on the monitor's command line\n",
               found.recording_id, found.events, found.bytes, found.recording_id);
    else
        printk("lvmm: memory still holds the log of another lvmm, of format version %u, and "
               "nothing was written: save it with that one (docs/after-a-crash.md), then boot with "
               "overwrite=any on the monitor's command line\n",
               found.format_version);
    return false;
}
