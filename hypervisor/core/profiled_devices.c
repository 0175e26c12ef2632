#include "core/profiled_devices.h"
#include "dma/areas.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "log_format.h"

/* Each has at least one of the numbers below LOG_HINT_STREAMS. */
#define DEVICES_MAX LOG_HINT_STREAMS

struct plan {
    pci_bdf bdf;
    const struct dma_profile *profile;
    u64 room;          /* bytes */
    const char *lacks; /* NULL: it has what it needs */
};

static struct plan plans[DEVICES_MAX];
static unsigned int plan_count;
static struct profiled_device *devices[DEVICES_MAX];
static unsigned int device_count;

/* --- who gets what --- */

static const struct dma_profile *profile_of(pci_bdf bdf)
{
    u32 id = pci_read(bdf, PCI_VENDOR_ID);

    return dma_profile_by_id((u16)id, (u16)(id >> 16), pci_read(bdf, PCI_CLASS) >> 8);
}

/* The device's own state is in its part, too. */
static u64 state_room(void)
{
    return ALIGN_UP(sizeof(struct profiled_device), PAGE_SIZE);
}

static u64 least_room(const struct dma_profile *profile)
{
    return state_room() + ALIGN_UP(dma_shadow_minimum(profile), PAGE_SIZE);
}

void profiled_devices_plan(u64 size)
{
    u8 numbers[DMA_DEVICE_STREAMS];
    u64 used = dma_areas_minimum(), share;
    u32 streams = 0, served = 0;
    s32 function = -1;

    plan_count = 0;
    while (pci_next_function(&function) && plan_count < DEVICES_MAX) {
        struct plan *p = &plans[plan_count];
        u32 count;

        *p = (struct plan){.bdf = (pci_bdf)function, .profile = profile_of((pci_bdf)function)};
        if (p->profile == NULL)
            continue;
        plan_count++;
        count = dma_streams_of(p->profile, numbers);
        if (streams + count > LOG_HINT_STREAMS)
            p->lacks = "streams";
        else if (used + least_room(p->profile) > size)
            p->lacks = "memory";
        else {
            p->room = least_room(p->profile);
            streams += count;
            used += p->room;
            served++;
        }
    }
    /* What is left, to each of them the same, and to what drivers declare themselves. */
    share = used < size ? (size - used) / (served + 1) & ~(u64)PAGE_MASK : 0;
    for (unsigned int i = 0; i < plan_count; i++)
        if (plans[i].lacks == NULL)
            plans[i].room += share;
}

u64 profiled_room(pci_bdf bdf, const char **lacks)
{
    *lacks = NULL;
    for (unsigned int i = 0; i < plan_count; i++)
        if (plans[i].bdf == bdf) {
            *lacks = plans[i].lacks;
            return plans[i].room;
        }
    return 0;
}

/* --- setting them up --- */

static void number_streams(struct profiled_device *d, const struct dma_profile *profile, u8 *next)
{
    u8 numbers[DMA_DEVICE_STREAMS];
    u32 count = dma_streams_of(profile, numbers);

    memset(d->streams, PROFILED_NO_STREAM, sizeof(d->streams));
    for (u32 i = 0; i < count; i++)
        d->streams[numbers[i]] = (*next)++;
}

static int add_device(const struct plan *p, u8 *memory, const struct dma_env *env, u8 *next)
{
    struct profiled_device *d = (struct profiled_device *)memory;
    struct dma_env own = *env;
    u8 *shadow = memory + state_room();
    int error;

    own.ctx = d;
    *d = (struct profiled_device){.bdf = p->bdf};
    number_streams(d, p->profile, next);
    error = dma_device_init(&d->dma, p->profile, &own, shadow, (u64)shadow, p->room - state_room());
    if (error < 0) {
        printk("lvmm: the %s at %02x:%02x.%u cannot have its shadow memory at %lx\n",
               p->profile->name, p->bdf >> 8, p->bdf >> 3 & 31, p->bdf & 7, (u64)shadow);
        return error;
    }
    devices[device_count++] = d;
    profiled_device_moved(d);
    return 0;
}

s64 profiled_devices_init(u8 *shadow, const struct dma_env *env)
{
    u64 used = 0;
    u8 next = 0;

    device_count = 0;
    for (unsigned int i = 0; i < plan_count; i++) {
        int error = plans[i].lacks == NULL ? add_device(&plans[i], shadow + used, env, &next) : 0;

        if (error < 0)
            return error;
        used += plans[i].room;
    }
    return (s64)used;
}

struct profiled_device *profiled_device(unsigned int i)
{
    return i < device_count ? devices[i] : NULL;
}

struct profiled_device *profiled_device_at(pci_bdf bdf)
{
    for (unsigned int i = 0; i < device_count; i++)
        if (devices[i]->bdf == bdf)
            return devices[i];
    return NULL;
}

/* --- where their registers are --- */

static u64 memory_bar(pci_bdf bdf, u32 bar)
{
    u32 low = pci_read(bdf, (u8)(PCI_BAR0 + 4 * bar));
    u64 address = low & ~15u;

    if (address != 0 && (low & 6) == 4)
        address |= (u64)pci_read(bdf, (u8)(PCI_BAR0 + 4 * bar + 4)) << 32;
    return address;
}

/* The I/O BAR that the profile names, or the one with its window, whichever that is. */
static u16 port_bar(pci_bdf bdf, const struct dma_profile *profile)
{
    u16 base = 0;

    for (u8 bar = 0; bar < 6; bar++) {
        u32 value = pci_read(bdf, (u8)(PCI_BAR0 + 4 * bar));

        if ((value & 1) && (profile->ports ? bar == profile->bar : profile->has_io_window))
            base = value & 0xfffc;
    }
    return base;
}

void profiled_device_moved(struct profiled_device *d)
{
    const struct dma_profile *profile = d->dma.profile;
    u32 command = pci_read(d->bdf, PCI_COMMAND);

    d->memory_base = !profile->ports && (command & 2) ? memory_bar(d->bdf, profile->bar) : 0;
    d->port_base = (command & 1) ? port_bar(d->bdf, profile) : 0;
}
