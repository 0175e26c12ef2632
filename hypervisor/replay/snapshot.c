#include "replay/snapshot.h"
#include "core/cpu_state.h"
#include "core/guest_memory.h"
#include "lib/crc32c.h"
#include "lib/page.h"
#include "lib/printk.h"
#include "log_format.h"
#include "replay/session.h"

/* Of a RAM_PAGE event: kind, address and length beside the page, with its share of a chunk's
 * header.
 */
#define PAGE_EVENT_SIZE (PAGE_SIZE + 32)

static u8 state[CPU_STATE_MAX] __attribute__((aligned(8)));

/* Firmware pages that are not below the end of RAM, where the walk over RAM finds them. */
static const void *high_firmware(unsigned int *i, u64 *gpa)
{
    const void *page;

    while ((page = guest_memory_firmware((*i)++, gpa)) != NULL)
        if (*gpa >= guest_memory_size())
            return page;
    return NULL;
}

/* A touched firmware page is logged even if it is zeros: it is not read from the machine again. */
static bool to_be_logged(u64 gpa, const void *page)
{
    return page != NULL && (guest_memory_is_firmware(gpa) || !page_is_zero(page));
}

u64 snapshot_size(void)
{
    u64 size = LOG_CHUNK_PAYLOAD_MAX, gpa; /* for BEGIN, and to begin with events behind it */
    unsigned int i = 0;

    for (gpa = 0; gpa < guest_memory_size(); gpa += PAGE_SIZE)
        if (to_be_logged(gpa, guest_memory_page(gpa)))
            size += PAGE_EVENT_SIZE;
    while (high_firmware(&i, &gpa) != NULL)
        size += PAGE_EVENT_SIZE;
    return size;
}

static int log_page(struct vcpu *vcpu, u64 gpa, const void *page)
{
    struct log_event e = {.kind = LOG_EVENT_RAM_PAGE,
                          .same_position = true,
                          .payload.ram_page.gpa = gpa,
                          .data = page,
                          .data_len = PAGE_SIZE};

    return session_input(vcpu, &e);
}

int snapshot_record(struct vcpu *vcpu)
{
    struct output_state output = session_output_state();
    struct log_event begin = {.kind = LOG_EVENT_BEGIN, .full = true, .data = state};
    unsigned int i = 0;
    const void *page;
    int error;
    u64 gpa;

    begin.data_len = cpu_state_save(vcpu, &output, state);
    if (begin.data_len == 0)
        return ERR_UNSUPPORTED;
    error = session_input(vcpu, &begin);
    for (gpa = 0; error == 0 && gpa < guest_memory_size(); gpa += PAGE_SIZE) {
        page = guest_memory_page(gpa);
        if (to_be_logged(gpa, page))
            error = log_page(vcpu, gpa, page);
    }
    while (error == 0 && (page = high_firmware(&i, &gpa)) != NULL)
        error = log_page(vcpu, gpa, page);
    return error;
}

bool snapshot_recorded(void)
{
    const struct log_event *e = session_peek();

    return e != NULL && e->kind == LOG_EVENT_BEGIN;
}

int snapshot_restore(struct vcpu *vcpu)
{
    const struct log_event *e = session_peek();
    struct output_state output;

    if (cpu_state_restore(vcpu, e->data, e->data_len, &output) < 0) {
        printk("lvmm: the CPU state with which the recording begins is not for this machine\n");
        return ERR_INVALID;
    }
    session_begin_after(&output);
    for (session_skip(); (e = session_peek()) != NULL && e->kind == LOG_EVENT_RAM_PAGE;
         session_skip())
        if (guest_memory_restore(e->payload.ram_page.gpa, e->data) < 0) {
            printk(
                "lvmm: the recording begins with memory at %lx, which this guest does not have\n",
                e->payload.ram_page.gpa);
            return ERR_INVALID;
        }
    return 0;
}

u32 snapshot_memory_crc(void)
{
    unsigned int i = 0;
    const void *page;
    u32 crc = 0;
    u64 gpa;

    for (gpa = 0; gpa < guest_memory_size(); gpa += PAGE_SIZE)
        if ((page = guest_memory_page(gpa)) != NULL)
            crc = crc32c(crc, page, PAGE_SIZE);
    while ((page = high_firmware(&i, &gpa)) != NULL)
        crc = crc32c(crc, page, PAGE_SIZE);
    return crc;
}
