#include "core/early_reads.h"
#include "core/guest_memory.h"
#include "debug/pages.h"
#include "debug/watches.h"
#include "lib/printk.h"
#include "replay/session.h"
#include "vmx/ept.h"

#define BUFFERS_MAX 4096 /* of all devices */

static struct owned_buffer {
    u64 gpa;
    u32 length;
    u8 stream;
} buffers[BUFFERS_MAX];
static unsigned int buffer_count;

static bool wanted;
static u64 found, unwatched;

void early_reads_init(bool is_wanted)
{
    wanted = is_wanted;
}

bool early_reads_wanted(void)
{
    return wanted;
}

static bool is_on_page(const struct owned_buffer *b, u64 page)
{
    return b->gpa < page + PAGE_SIZE && b->gpa + b->length > page;
}

bool early_reads_on(u64 gpa)
{
    for (unsigned int i = 0; i < buffer_count; i++)
        if (is_on_page(&buffers[i], gpa & ~PAGE_MASK))
            return true;
    return false;
}

/* A page that can be written but not read is none that EPT knows (SDM vol. 3, section 29.3.3.1). */
unsigned int early_reads_permissions(u64 gpa)
{
    if (!early_reads_on(gpa))
        return EPT_ALL;
    return ept_execute_only() ? EPT_EXECUTE : 0;
}

/* The first or the last buffer of these pages has come or gone. */
static bool update_pages(u64 gpa, u32 len)
{
    bool shown = true;

    for (u64 page = gpa & ~PAGE_MASK; page < gpa + len; page += PAGE_SIZE)
        if (guest_memory_backed(page))
            shown = pages_update(page) == 0 && shown;
    hv_flush_guest_tlb();
    return shown;
}

static void add(u8 stream, u64 gpa, u32 len)
{
    if (buffer_count == BUFFERS_MAX || gpa + len < gpa) {
        unwatched++;
        return;
    }
    buffers[buffer_count++] = (struct owned_buffer){gpa, len, stream};
    unwatched += !update_pages(gpa, len);
}

static void drop(unsigned int i)
{
    struct owned_buffer gone = buffers[i];

    buffers[i] = buffers[--buffer_count];
    update_pages(gone.gpa, gone.length);
}

void early_reads_own(u8 stream, u64 gpa, u32 len, bool owned)
{
    if (owned) {
        add(stream, gpa, len);
        return;
    }
    for (unsigned int i = 0; i < buffer_count; i++)
        if (buffers[i].gpa == gpa && buffers[i].stream == stream) {
            drop(i);
            return;
        }
}

static void note(struct vcpu *vcpu, const struct owned_buffer *b, u64 gpa, u8 size)
{
    struct log_event e = {
        .kind = LOG_EVENT_EARLY_READ,
        .payload.early_read = {.stream = b->stream, .gpa = gpa, .size = size},
    };

    found++;
    session_note(vcpu, &e);
}

void early_reads_access(struct vcpu *vcpu, const struct exit *exit)
{
    u64 gpa = exit->u.memory.gpa;
    u8 size;

    /* What the CPU reads by itself, to deliver an event or to translate, is no mistake of a
     * driver's. */
    if (!session_recording() || session_ended() || vcpu->event.valid || !exit->u.memory.read ||
        exit->u.memory.walk || !early_reads_on(gpa))
        return;
    size = watch_access_size(vcpu);
    for (unsigned int i = 0; i < buffer_count; i++) {
        const struct owned_buffer *b = &buffers[i];

        if (gpa < b->gpa + b->length && gpa + size > b->gpa) {
            note(vcpu, b, gpa > b->gpa ? gpa : b->gpa, size);
            drop(i);
            return;
        }
    }
}

void early_reads_report(void)
{
    if (wanted)
        printk("{\"lvmm\":\"early-reads\",\"found\":%lu,\"unwatched\":%lu}\n", found, unwatched);
}
