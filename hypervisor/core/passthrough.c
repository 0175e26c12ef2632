#include "core/passthrough.h"
#include "core/device_access.h"
#include "core/dma_log.h"
#include "core/early_reads.h"
#include "core/fence.h"
#include "core/guest_memory.h"
#include "core/hints.h"
#include "core/pci.h"
#include "core/pci_config.h"
#include "core/profiled_devices.h"
#include "lib/panic.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/session.h"

#define IO_BAR_SIZE 64

static struct vcpu *current; /* for the engine's callbacks */
static bool has_schedules;   /* a device has that finds work in memory */

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

static u8 log_stream(const struct profiled_device *d, u8 stream)
{
    if (d->streams[stream] == PROFILED_NO_STREAM)
        panic("stream %u of %s has no number in the log", stream, d->dma.profile->name);
    return d->streams[stream];
}

static void env_emit(void *ctx, u8 stream, u64 gpa, const void *data, u32 len)
{
    if (stream % DMA_STREAMS_PER_RING == DMA_STREAM_DESCRIPTORS(0))
        dma_log_write(current, log_stream(ctx, stream), gpa, data, len);
    else
        dma_log_payload(current, log_stream(ctx, stream), gpa, data, len);
}

static int env_sent(void *ctx, u8 stream, u8 flags, u32 length, const void *data, u32 len)
{
    return dma_log_sent(current, log_stream(ctx, stream), flags, length, data, len);
}

static void env_own(void *ctx, u8 stream, u64 gpa, u32 len, bool owned)
{
    early_reads_own(log_stream(ctx, stream), gpa, len, owned);
}

/* While the device decodes no memory its registers cannot be reached. */
static u64 env_device_read(void *ctx, u32 reg, u8 size)
{
    const struct profiled_device *d = ctx;

    if (d->dma.profile->ports)
        return d->port_base != 0 ? raw_port_read((u16)(d->port_base + reg), size) : ~0ULL;
    return d->memory_base != 0 ? raw_memory_read(d->memory_base + reg, size) : ~0ULL;
}

static void env_device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    const struct profiled_device *d = ctx;

    if (d->dma.profile->ports && d->port_base != 0)
        raw_port_write((u16)(d->port_base + reg), size, value);
    else if (d->memory_base != 0)
        raw_memory_write(d->memory_base + reg, size, value);
}

static bool is_device(const struct profiled_device *d, u64 gpa)
{
    return d->memory_base != 0 && gpa - d->memory_base < d->dma.profile->register_size;
}

bool passthrough_may_be_master(pci_bdf bdf)
{
    return profiled_device_at(bdf) != NULL || hints_has(bdf) ||
           pci_read(bdf, PCI_CLASS) >> 24 == PCI_CLASS_BRIDGE;
}

static void fence_the_others(void)
{
    s32 function = -1;

    while (pci_next_function(&function))
        if (!passthrough_may_be_master((pci_bdf)function))
            fence_close((pci_bdf)function);
}

int passthrough_init(void *shadow, u64 shadow_size, u32 keep_sent)
{
    struct dma_env env = {
        .guest_read = env_read,
        .guest_write = env_write,
        .guest_page = env_page,
        .emit = env_emit,
        .device_read = env_device_read,
        .device_write = env_device_write,
        .sent_max = keep_sent,
        .sent = env_sent,
        .own = early_reads_wanted() ? env_own : NULL,
    };
    const struct profiled_device *d;
    s64 used;

    if (!session_recording())
        return 0;
    profiled_devices_plan(shadow_size);
    used = profiled_devices_init(shadow, &env);
    if (used < 0)
        return (int)used;
    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++)
        has_schedules |= d->dma.profile->schedule != NULL;
    fence_the_others();
    hints_init((u8 *)shadow + used, shadow_size - (u64)used);
    return 0;
}

static void tell_errors(struct profiled_device *d)
{
    const char *error = dma_take_error(&d->dma);

    if (error != NULL) {
        printk("{\"lvmm\":\"error\",\"text\":\"%s: %s\"}\n", d->dma.profile->name, error);
        session_end(current, LOG_END_REASON_MONITOR_ERROR, true);
    }
}

u64 passthrough_memory_read(struct vcpu *vcpu, u64 gpa, u8 size)
{
    struct profiled_device *d;
    u64 value;

    if (!pci_config_memory_read(gpa, size, &value))
        value = raw_memory_read(gpa, size);
    current = vcpu;
    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++)
        if (is_device(d, gpa)) {
            value = dma_on_register_read(&d->dma, (u32)(gpa - d->memory_base), size, value);
            tell_errors(d);
        }
    hints_on_memory(vcpu, gpa);
    dma_log_time(vcpu);
    return value;
}

void passthrough_memory_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value)
{
    struct profiled_device *d;

    current = vcpu;
    hints_on_memory(vcpu, gpa);
    dma_log_time(vcpu);
    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++)
        if (is_device(d, gpa)) {
            bool forward = true;

            value =
                dma_on_register_write(&d->dma, (u32)(gpa - d->memory_base), size, value, &forward);
            tell_errors(d);
            dma_log_time(vcpu);
            if (!forward)
                return;
        }
    if (!pci_config_memory_write(gpa, size, value))
        raw_memory_write(gpa, size, value);
    fence_log(vcpu);
}

static struct profiled_device *find_port(u16 port, u16 *offset)
{
    struct profiled_device *d;

    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++) {
        const struct dma_profile *profile = d->dma.profile;

        *offset = (u16)(port - d->port_base);
        if (d->port_base != 0 && *offset < (profile->ports ? profile->register_size : IO_BAR_SIZE))
            return d;
    }
    return NULL;
}

static bool tells_progress(const struct dma_profile *profile, u16 port)
{
    for (u32 i = 0; i < profile->progress_port_count; i++)
        if (port - profile->progress_ports[i].first < profile->progress_ports[i].count)
            return true;
    return false;
}

/* The guest learns from the port that DMA is complete: so it is, when it gets the value. */
static void harvest_before(u16 port)
{
    struct profiled_device *d;

    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++)
        if (tells_progress(d->dma.profile, port) && dma_outstanding(&d->dma)) {
            dma_harvest(&d->dma);
            tell_errors(d);
        }
}

static u64 read_device_port(struct profiled_device *d, u16 offset, u8 size, u64 value)
{
    if (d->dma.profile->ports)
        value = dma_on_register_read(&d->dma, offset, size, value);
    else
        value = dma_on_port_read(&d->dma, offset, size, value);
    tell_errors(d);
    return value;
}

u64 passthrough_port_read(struct vcpu *vcpu, u16 port, u8 size)
{
    u64 value = raw_port_read(port, size);
    u16 offset;
    struct profiled_device *d = find_port(port, &offset);

    current = vcpu;
    if (d != NULL)
        value = read_device_port(d, offset, size, value);
    else if (pci_config_is_data(port, size))
        value = pci_config_port_read(port, size, value);
    harvest_before(port);
    hints_on_port(vcpu, port);
    dma_log_time(vcpu);
    return value;
}

static u64 write_device_port(struct profiled_device *d, u16 offset, u8 size, u64 value,
                             bool *forward)
{
    if (d->dma.profile->ports)
        value = dma_on_register_write(&d->dma, offset, size, value, forward);
    else
        value = dma_on_port_write(&d->dma, offset, size, value, forward);
    tell_errors(d);
    return value;
}

void passthrough_port_read_string(struct vcpu *vcpu, u16 port, u8 size, u8 *buf, u32 count)
{
    u16 offset;

    if (find_port(port, &offset) == NULL) {
        raw_port_read_string(port, size, buf, count);
        current = vcpu;
        harvest_before(port);
        hints_on_port(vcpu, port);
        dma_log_time(vcpu);
        return;
    }
    for (u32 i = 0; i < count; i++) {
        u64 value = passthrough_port_read(vcpu, port, size);

        memcpy(buf + i * size, &value, size);
    }
}

void passthrough_moved(pci_bdf bdf)
{
    struct profiled_device *d = profiled_device_at(bdf);

    if (d != NULL)
        profiled_device_moved(d);
    hints_configured(bdf);
}

void passthrough_port_write(struct vcpu *vcpu, u16 port, u8 size, u64 value)
{
    u16 offset;
    struct profiled_device *d = find_port(port, &offset);
    bool forward = true;

    current = vcpu;
    if (d != NULL)
        value = write_device_port(d, offset, size, value, &forward);
    hints_on_port(vcpu, port);
    dma_log_time(vcpu);
    if (port == PCI_CONFIG_ADDRESS && size == 4)
        pci_config_set_address((u32)value);
    if (pci_config_is_data(port, size))
        pci_config_port_write(port, size, value);
    else if (forward)
        raw_port_write(port, size, value);
    fence_log(vcpu);
}

void passthrough_harvest(struct vcpu *vcpu)
{
    struct profiled_device *d;

    current = vcpu;
    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++) {
        if (dma_outstanding(&d->dma))
            dma_harvest(&d->dma);
        tell_errors(d);
    }
    dma_log_time(vcpu);
}

void passthrough_find_work(struct vcpu *vcpu)
{
    struct profiled_device *d;

    current = vcpu;
    for (unsigned int i = 0; (d = profiled_device(i)) != NULL; i++) {
        dma_find_work(&d->dma);
        tell_errors(d);
    }
    dma_log_time(vcpu);
}

bool passthrough_finds_work(void)
{
    const struct profiled_device *d;

    for (unsigned int i = 0; has_schedules && (d = profiled_device(i)) != NULL; i++)
        if (dma_finds_work(&d->dma))
            return true;
    return false;
}

void passthrough_report(void)
{
    const struct profiled_device *profiled;

    for (unsigned int i = 0; (profiled = profiled_device(i)) != NULL; i++) {
        const struct dma_device *d = &profiled->dma;

        printk("{\"lvmm\":\"dma\",\"device\":\"%s\",\"doorbells\":%lu,\"completed\":%lu,"
               "\"rx_packets\":%lu,\"rx_bytes\":%lu,\"tx_bytes\":%lu,\"guest_faults\":%lu,"
               "\"refused_writes\":%lu}\n",
               d->profile->name, d->stats.doorbells, d->stats.completed, d->stats.rx_packets,
               d->stats.rx_bytes, d->stats.tx_bytes, d->stats.guest_faults,
               d->stats.refused_writes);
    }
    hints_report();
}
