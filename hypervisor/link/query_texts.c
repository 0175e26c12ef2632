#include "link/query_texts.h"
#include "core/guest_linear.h"
#include "core/guest_memory.h"
#include "core/guest_paging.h"
#include "core/profiled_devices.h"
#include "core/run.h"
#include "lib/format.h"
#include "link_layout.h"
#include "replay/session.h"
#include "vmx/ept.h"

#define TEXT_MAX 8192

static char text[TEXT_MAX];
static u32 used;

static void put(void *context, char c)
{
    (void)context;
    if (used < TEXT_MAX)
        text[used++] = c;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    format_text(put, NULL, format, args);
    va_end(args);
}

static void say_exits(void)
{
    for (u32 i = 0; i < HV_REASON_COUNT; i++)
        if (run_exit_count(i) != 0)
            say("%s: %lu\n", hv_reason_name(i), run_exit_count(i));
}

static void say_events(void)
{
    struct session_status status;

    session_read_status(&status);
    say("total: %lu\n", status.events);
    for (u8 kind = 1; kind < SESSION_EVENT_KINDS; kind++)
        if (session_event_count(kind) != 0)
            say("%s: %lu\n", log_event_name(kind), session_event_count(kind));
}

static void say_devices(void)
{
    const struct profiled_device *d;

    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++)
        say("%02x:%02x.%u %s: doorbells %lu, completed %lu, received %lu frames, %lu bytes\n",
            d->bdf >> 8, d->bdf >> 3 & 31, d->bdf & 7, d->dma.profile->name, d->dma.stats.doorbells,
            d->dma.stats.completed, d->dma.stats.rx_packets, d->dma.stats.rx_bytes);
    if (used == 0)
        say(session_replaying() ? "a replay touches no device\n"
                                : "no device with a DMA profile\n");
}

static void say_ept(u64 gpa)
{
    static const char *const levels[] = {"PML4E", "PDPTE", "PDE", "PTE"};
    static const char *const kinds[] = {
        [GPA_RAM] = "RAM",       [GPA_FIRMWARE] = "firmware, not touched",
        [GPA_ROM] = "ROM",       [GPA_HIDDEN] = "hidden from the guest",
        [GPA_DEVICE] = "device",
    };
    u64 entries[4];
    int count = ept_lookup(gpa, entries);

    say("guest-physical %lx: %s\n", gpa, kinds[guest_memory_kind(gpa)]);
    for (int i = 0; i < count; i++)
        say("%s %016lx\n", levels[i], entries[i]);
    if (!(entries[count - 1] & EPT_ALL))
        say("not mapped: an access exits\n");
}

static void say_translation(const struct vcpu *vcpu, u64 linear)
{
    u64 gpa;

    if (guest_linear_to_gpa_any(vcpu, linear, &gpa) < 0)
        say("linear %lx is not mapped (CR3 %lx)\n", linear, hv_read_cr3());
    else
        say("linear %lx is guest-physical %lx (CR3 %lx)\n", linear, gpa, hv_read_cr3());
}

static void say_log_status(void)
{
    static const char *const states[] = {"empty",     "recording", "sealed",
                                         "replaying", "replayed",  "failed"};
    const struct log_region_header *region = session_region();
    struct session_status status;

    session_read_status(&status);
    say("state: %s\nlog: %lu of %lu bytes\nevents: %lu\nconsole: %lu bytes\n",
        region->state < ARRAY_SIZE(states) ? states[region->state] : "unknown", status.log_bytes,
        region->chunks_size, status.events, region->console_head);
}

const char *query_text(const struct vcpu *vcpu, u8 kind, u64 argument, u32 *size)
{
    used = 0;
    switch (kind) {
    case LINK_QUERY_KIND_EXITS:
        say_exits();
        break;
    case LINK_QUERY_KIND_EVENTS:
        say_events();
        break;
    case LINK_QUERY_KIND_DEVICES:
        say_devices();
        break;
    case LINK_QUERY_KIND_EPT:
        say_ept(argument);
        break;
    case LINK_QUERY_KIND_TRANSLATE:
        say_translation(vcpu, argument);
        break;
    case LINK_QUERY_KIND_LOG_STATUS:
        say_log_status();
        break;
    default:
        break;
    }
    return query_last_text(size);
}

const char *query_last_text(u32 *size)
{
    *size = used;
    return text;
}
