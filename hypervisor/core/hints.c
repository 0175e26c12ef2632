#include "core/hints.h"
#include "arch/lapic.h"
#include "core/dma_log.h"
#include "core/fence.h"
#include "core/guest_memory.h"
#include "core/pci_bars.h"
#include "core/pci_config.h"
#include "core/profiled_devices.h"
#include "dma/areas.h"
#include "guest_support/lvmm_abi.h"
#include "lib/printk.h"
#include "replay/session.h"

#define DEVICES_MAX LOG_HINT_DEVICES

_Static_assert(LVMM_DMA_TO_DEVICE == DMA_AREA_TO_DEVICE &&
                   LVMM_DMA_FROM_DEVICE == DMA_AREA_FROM_DEVICE &&
                   LVMM_DMA_BIDIRECTIONAL == DMA_AREA_BOTH && LVMM_DMA_SHARED == DMA_AREA_SHARED,
               "the engine's kinds are the interface's");
_Static_assert(LOG_HINT_STREAMS + 2 * DEVICES_MAX <= 255, "the last stream is the debugger's");

struct hinted {
    pci_bdf bdf;
    bool attached;
    struct pci_bar bars[PCI_BAR_COUNT];
};

static struct hinted devices[DEVICES_MAX];
static unsigned int device_count;
static bool usable;
static struct dma_device engine; /* the areas of all of them, each with its device as owner */
static struct vcpu *current;     /* for the engine's callbacks */

static int env_read(void *ctx, u64 gpa, void *buf, u32 len)
{
    (void)ctx;
    return guest_memory_read(gpa, buf, len);
}

static int env_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
    (void)ctx;
    return guest_memory_write(gpa, buf, len);
}

static const void *env_page(void *ctx, u64 gpa)
{
    (void)ctx;
    return guest_memory_page(gpa);
}

static void env_emit(void *ctx, u8 stream, u64 gpa, const void *data, u32 len)
{
    (void)ctx;
    dma_log_payload(current, stream, gpa, data, len);
}

void hints_init(u8 *shadow, u64 size)
{
    struct dma_env env = {
        .guest_read = env_read,
        .guest_write = env_write,
        .guest_page = env_page,
        .emit = env_emit,
    };

    usable = dma_areas_device_init(&engine, &env, shadow, (u64)shadow, size) == 0;
}

static struct hinted *find(u32 bdf)
{
    for (unsigned int i = 0; i < device_count; i++)
        if (devices[i].bdf == bdf)
            return &devices[i];
    return NULL;
}

bool hints_has(pci_bdf bdf)
{
    const struct hinted *d = find(bdf);

    return d != NULL && d->attached;
}

/* --- the calls --- */

static bool is_attachable(u32 bdf)
{
    return usable && bdf <= 0xffff && profiled_device_at((pci_bdf)bdf) == NULL &&
           (pci_read((pci_bdf)bdf, PCI_VENDOR_ID) & 0xffff) != 0xffff &&
           pci_read((pci_bdf)bdf, PCI_CLASS) >> 24 != PCI_CLASS_BRIDGE;
}

static int attach(u32 bdf)
{
    struct hinted *d = find(bdf);

    if (d == NULL) {
        if (!is_attachable(bdf) || device_count == DEVICES_MAX)
            return LVMM_ERROR_DEVICE;
        d = &devices[device_count++];
        d->bdf = (pci_bdf)bdf;
        pci_size_bars(d->bdf, d->bars);
    }
    d->attached = true;
    pci_place_bars(d->bdf, d->bars);
    return 0;
}

static int detach(struct hinted *d)
{
    d->attached = false;
    dma_areas_release(&engine, d->bdf);
    fence_close(d->bdf);
    return 0;
}

static int error_of(int error)
{
    switch (error) {
    case 0:
        return 0;
    case ERR_FAULT:
        return LVMM_ERROR_FAULT;
    case ERR_NO_SPACE:
        return LVMM_ERROR_ROOM;
    default:
        return LVMM_ERROR_RANGE;
    }
}

static u64 map(const struct hinted *d, u64 gpa, u64 length, u64 kind)
{
    u32 stream = LOG_HINT_STREAMS + 2 * (u32)(d - devices) + (kind == LVMM_DMA_SHARED);
    struct dma_area area = {
        .gpa = gpa, .length = length, .owner = d->bdf, .kind = (u8)kind, .stream = (u8)stream};
    u64 address = 0;
    int error;

    if (kind < LVMM_DMA_TO_DEVICE || kind > LVMM_DMA_SHARED)
        return (u64)LVMM_ERROR_RANGE;
    error = dma_area_map(&engine, &area, &address);
    return error < 0 ? (u64)error_of(error) : address;
}

static u64 carry_out(u64 function, u64 address, u64 length, u64 number)
{
    u32 bdf = number & 0xffff;
    struct hinted *d = find(bdf);

    if (function == LVMM_CALL_DMA_ATTACH)
        return (u64)attach(bdf);
    if (d == NULL || !d->attached)
        return (u64)LVMM_ERROR_DEVICE;
    switch (function) {
    case LVMM_CALL_DMA_DETACH:
        return (u64)detach(d);
    case LVMM_CALL_DMA_MAP:
        return map(d, address, length, number >> LVMM_DMA_KIND_SHIFT);
    case LVMM_CALL_DMA_SYNC_FOR_CPU:
        return (u64)error_of(dma_area_sync_for_cpu(&engine, d->bdf, address, length));
    case LVMM_CALL_DMA_SYNC_FOR_DEVICE:
        return (u64)error_of(dma_area_sync_for_device(&engine, d->bdf, address, length));
    default:
        return (u64)error_of(dma_area_unmap(&engine, d->bdf, address));
    }
}

u64 hints_call(struct vcpu *vcpu, u64 function, u64 address, u64 length, u64 number)
{
    u64 result;

    if (!session_recording())
        return function == LVMM_CALL_DMA_MAP ? address : 0;
    current = vcpu;
    result = carry_out(function, address, length, number);
    dma_log_time(vcpu);
    pci_config_restore_address();
    return result;
}

/* --- where what is shared is brought up to date --- */

void hints_harvest(struct vcpu *vcpu)
{
    current = vcpu;
    if (device_count != 0)
        dma_harvest(&engine);
    dma_log_time(vcpu);
}

void hints_on_interrupt(struct vcpu *vcpu, u8 vector)
{
    if (device_count != 0 && vector != lapic_timer_vector())
        hints_harvest(vcpu);
}

static void on_access(struct vcpu *vcpu, bool ports, u64 address)
{
    for (unsigned int i = 0; i < device_count; i++)
        if (devices[i].attached && pci_bars_have(devices[i].bars, ports, address))
            hints_harvest(vcpu);
}

void hints_on_memory(struct vcpu *vcpu, u64 gpa)
{
    on_access(vcpu, false, gpa);
}

void hints_on_port(struct vcpu *vcpu, u16 port)
{
    on_access(vcpu, true, port);
}

void hints_configured(pci_bdf bdf)
{
    if (hints_has(bdf))
        pci_place_bars(bdf, find(bdf)->bars);
}

void hints_report(void)
{
    if (device_count != 0)
        printk("{\"lvmm\":\"hints\",\"devices\":%u,\"handed_over\":%lu,\"unmapped\":%lu,"
               "\"rx_bytes\":%lu,\"guest_faults\":%lu}\n",
               device_count, engine.stats.doorbells, engine.stats.completed, engine.stats.rx_bytes,
               engine.stats.guest_faults);
}
