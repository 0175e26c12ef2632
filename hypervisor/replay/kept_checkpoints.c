/* Checkpoints that outlive a replay: their memory, with all of guest memory at the last one behind
 * the pages that undo it. A tool saves that, and puts it back for another replay. */
#include "core/guest_memory.h"
#include "core/page_journal.h"
#include "lib/crc32c.h"
#include "lib/page.h"
#include "lib/string.h"
#include "replay/checkpoint_state.h"
#include "replay/log_region.h"

#define KEPT_MAGIC 0x54504b434d4d564cULL /* `LVMMCKPT` */

struct kept_checkpoints {
    u64 magic;
    u64 recording_id;
    u64 interval;
    u64 guest_memory; /* bytes */
    u64 log_bytes;
    u32 count, last_id;
    u32 page_count, pages_max;
    u32 firmware_pages; /* the first of those that follow */
    u32 memory_pages;   /* all that are not zeros */
    u32 console_pages;
    u32 crc32c; /* of this structure up to here, then of the list */
};

static u32 checksum(const struct kept_checkpoints *kept)
{
    u32 crc = crc32c(0, kept, offsetof(struct kept_checkpoints, crc32c));

    return crc32c(crc, checkpoints.list, kept->count * sizeof(*checkpoints.list));
}

/* Adds a page behind the store. */
static bool add(u32 *at, u64 gpa, const void *page)
{
    if (*at == checkpoints.pages_max)
        return false;
    checkpoints.gpas[*at] = gpa;
    memcpy(checkpoints.pages[(*at)++], page, PAGE_SIZE);
    return true;
}

static bool add_all(struct kept_checkpoints *kept, u32 *at)
{
    u64 console_size, gpa;
    const u8 *console = log_console_ring(session_region(), &console_size);
    const void *page;
    u32 start = *at;

    for (unsigned int i = 0; (page = guest_memory_firmware(i, &gpa)) != NULL; i++)
        if (!add(at, gpa, page))
            return false;
    kept->firmware_pages = *at - start;
    for (gpa = 0; gpa < guest_memory_size(); gpa += PAGE_SIZE) {
        page = guest_memory_page(gpa);
        if (page != NULL && !guest_memory_is_firmware(gpa) && !page_is_zero(page) &&
            !add(at, gpa, page))
            return false;
    }
    kept->memory_pages = *at - start - kept->firmware_pages;
    kept->console_pages = (u32)(console_size / PAGE_SIZE);
    for (u64 offset = 0; offset < console_size; offset += PAGE_SIZE)
        if (!add(at, offset, console + offset))
            return false;
    return true;
}

static void describe(struct kept_checkpoints *kept)
{
    kept->magic = KEPT_MAGIC;
    kept->recording_id = session_recording_id();
    kept->interval = checkpoints.interval;
    kept->guest_memory = guest_memory_size();
    kept->log_bytes = session_log_size();
    kept->count = checkpoints.count;
    kept->last_id = checkpoints.last_id;
    kept->page_count = checkpoints.page_count;
    kept->pages_max = checkpoints.pages_max;
}

static bool at_last_checkpoint(const struct vcpu *vcpu)
{
    struct run_position here = run_position(vcpu), last;

    if (checkpoints.count == 0)
        return false;
    last = checkpoints.list[checkpoints.count - 1].at;
    return here.events == last.events && here.branches == last.branches && here.rip == last.rip &&
           here.check == last.check;
}

int checkpoints_keep(struct vcpu *vcpu, u64 *size)
{
    struct kept_checkpoints *kept = checkpoints.kept;
    u32 at;

    if (!at_last_checkpoint(vcpu))
        return ERR_INVALID;
    for (;;) {
        at = checkpoints.page_count;
        if (add_all(kept, &at))
            break;
        if (checkpoints.count <= 2)
            return ERR_NO_SPACE;
        checkpoints_thin_out();
    }
    describe(kept);
    kept->crc32c = checksum(kept);
    *size = (u64)(checkpoints.pages[at] - (u8 *)kept);
    return 0;
}

static bool usable(const struct kept_checkpoints *kept)
{
    u64 pages =
        (u64)kept->page_count + kept->firmware_pages + kept->memory_pages + kept->console_pages;

    return kept->magic == KEPT_MAGIC && kept->recording_id == session_recording_id() &&
           kept->guest_memory == guest_memory_size() && kept->log_bytes == session_log_size() &&
           kept->pages_max == checkpoints.pages_max && pages <= kept->pages_max &&
           kept->count > 0 && kept->count <= CHECKPOINTS_MAX && kept->crc32c == checksum(kept);
}

static int put_back(const struct kept_checkpoints *kept)
{
    u32 at = kept->page_count, end = at + kept->firmware_pages + kept->memory_pages;
    u64 console_size;
    u8 *console = log_console_ring(session_region(), &console_size);

    guest_memory_forget_firmware(0);
    for (; at < end; at++)
        if (guest_memory_restore(checkpoints.gpas[at], checkpoints.pages[at]) < 0)
            return ERR_INVALID;
    for (end += kept->console_pages; at < end; at++)
        if (checkpoints.gpas[at] < console_size)
            memcpy(console + checkpoints.gpas[at], checkpoints.pages[at], PAGE_SIZE);
    return 0;
}

int checkpoints_resume(struct vcpu *vcpu)
{
    const struct kept_checkpoints *kept = checkpoints.kept;

    if (!usable(kept) || put_back(kept) < 0)
        return ERR_INVALID;
    checkpoints.count = kept->count;
    checkpoints.last_id = kept->last_id;
    checkpoints.page_count = kept->page_count;
    checkpoints.interval = kept->interval;
    if (page_journal_start(checkpoints.journal, checkpoints_save_page) < 0)
        return ERR_NO_SPACE;
    return checkpoint_restore(vcpu, checkpoints.list[checkpoints.count - 1].id);
}

const void *checkpoints_memory(void)
{
    return checkpoints.kept;
}
