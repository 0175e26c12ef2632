#include "core/passthrough.h"
#include "core/device_access.h"
#include "core/dma_log.h"
#include "core/early_reads.h"
#include "core/fence.h"
#include "core/guest_memory.h"
#include "core/hints.h"
#include "core/pci.h"
#include "core/pci_config.h"
#include "dma/dma.h"
#include "lib/printk.h"
#include "lib/string.h"
#include "replay/session.h"

#define IO_BAR_SIZE 64

struct device {
    pci_bdf bdf;
    u64 memory_base; /* 0: not decoded */
    u16 port_base;
    unsigned int index;
    struct dma_device dma;
};

static struct device devices[PASSTHROUGH_DEVICES_MAX];
static unsigned int device_count;
static u32 sent_max;         /* bytes to log of each frame that is sent */
static struct vcpu *current; /* for the engine's callbacks */

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

static u8 log_stream(const struct device *d, u8 stream)
{
    return (u8)(d->index * PASSTHROUGH_DEVICE_STREAMS + stream);
}

static void env_emit(void *ctx, u8 stream, u64 gpa, const void *data, u32 len)
{
    dma_log_write(current, log_stream(ctx, stream), gpa, data, len);
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
    const struct device *d = ctx;

    if (d->dma.profile->ports)
        return d->port_base != 0 ? raw_port_read((u16)(d->port_base + reg), size) : ~0ULL;
    return d->memory_base != 0 ? raw_memory_read(d->memory_base + reg, size) : ~0ULL;
}

static void env_device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    const struct device *d = ctx;

    if (d->dma.profile->ports && d->port_base != 0)
        raw_port_write((u16)(d->port_base + reg), size, value);
    else if (d->memory_base != 0)
        raw_memory_write(d->memory_base + reg, size, value);
}

static bool is_device(const struct device *d, u64 gpa)
{
    return d->memory_base != 0 && gpa - d->memory_base < d->dma.profile->register_size;
}

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

/* Where the guest or the firmware put the device's BARs. */
static void read_bars(struct device *d)
{
    const struct dma_profile *profile = d->dma.profile;
    u32 command = pci_read(d->bdf, PCI_COMMAND);

    d->memory_base = !profile->ports && (command & 2) ? memory_bar(d->bdf, profile->bar) : 0;
    d->port_base = (command & 1) ? port_bar(d->bdf, profile) : 0;
}

static struct device *find_bdf(pci_bdf bdf)
{
    for (unsigned int i = 0; i < device_count; i++)
        if (devices[i].bdf == bdf)
            return &devices[i];
    return NULL;
}

bool passthrough_may_be_master(pci_bdf bdf)
{
    return find_bdf(bdf) != NULL || hints_has(bdf) ||
           pci_read(bdf, PCI_CLASS) >> 24 == PCI_CLASS_BRIDGE;
}

static int add_device(pci_bdf bdf, const struct dma_profile *profile, u8 *shadow, u64 size)
{
    struct device *d = &devices[device_count];
    struct dma_env env = {
        .ctx = d,
        .guest_read = env_read,
        .guest_write = env_write,
        .emit = env_emit,
        .device_read = env_device_read,
        .device_write = env_device_write,
        .sent_max = sent_max,
        .sent = env_sent,
        .own = early_reads_wanted() ? env_own : NULL,
    };
    int error;

    d->bdf = bdf;
    d->index = device_count;
    error = dma_device_init(&d->dma, profile, &env, shadow, (u64)shadow, size);
    if (error < 0) {
        printk("lvmm: no room for the shadow rings of the %s at %02x:%02x.%u\n", profile->name,
               bdf >> 8, bdf >> 3 & 31, bdf & 7);
        return error;
    }
    device_count++;
    read_bars(d);
    return 0;
}

static int scan_function(pci_bdf bdf, u8 *shadow, u64 size)
{
    u32 id = pci_read(bdf, PCI_VENDOR_ID);
    const struct dma_profile *profile =
        dma_profile_by_id((u16)id, (u16)(id >> 16), pci_read(bdf, PCI_CLASS) >> 8);

    if (profile != NULL && device_count < PASSTHROUGH_DEVICES_MAX)
        return add_device(bdf, profile, shadow + device_count * size, size);
    if (!passthrough_may_be_master(bdf))
        fence_close(bdf);
    return 0;
}

int passthrough_init(void *shadow, u64 shadow_size, u32 keep_sent)
{
    u64 size = shadow_size / PASSTHROUGH_DEVICES_MAX;
    u64 used;
    s32 function = -1;

    if (!session_recording())
        return 0;
    sent_max = keep_sent;
    while (pci_next_function(&function))
        if (scan_function((pci_bdf)function, shadow, size) < 0)
            return ERR_NO_SPACE;
    used = ALIGN_UP(device_count * size, PAGE_SIZE);
    hints_init((u8 *)shadow + used, shadow_size - used);
    return 0;
}

static void tell_errors(struct device *d)
{
    const char *error = dma_take_error(&d->dma);

    if (error != NULL) {
        printk("{\"lvmm\":\"error\",\"text\":\"%s: %s\"}\n", d->dma.profile->name, error);
        session_end(current, LOG_END_REASON_MONITOR_ERROR, true);
    }
}

u64 passthrough_memory_read(struct vcpu *vcpu, u64 gpa, u8 size)
{
    u64 value;

    if (!pci_config_memory_read(gpa, size, &value))
        value = raw_memory_read(gpa, size);
    current = vcpu;
    for (unsigned int i = 0; i < device_count; i++)
        if (is_device(&devices[i], gpa)) {
            struct device *d = &devices[i];

            value = dma_on_register_read(&d->dma, (u32)(gpa - d->memory_base), size, value);
            tell_errors(d);
        }
    hints_on_memory(vcpu, gpa);
    dma_log_time(vcpu);
    return value;
}

void passthrough_memory_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value)
{
    current = vcpu;
    hints_on_memory(vcpu, gpa);
    dma_log_time(vcpu);
    for (unsigned int i = 0; i < device_count; i++)
        if (is_device(&devices[i], gpa)) {
            struct device *d = &devices[i];
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
}

static struct device *find_port(u16 port, u16 *offset)
{
    for (unsigned int i = 0; i < device_count; i++) {
        const struct dma_profile *profile = devices[i].dma.profile;

        *offset = (u16)(port - devices[i].port_base);
        if (devices[i].port_base != 0 &&
            *offset < (profile->ports ? profile->register_size : IO_BAR_SIZE))
            return &devices[i];
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
    for (unsigned int i = 0; i < device_count; i++)
        if (dma_outstanding(&devices[i].dma) && tells_progress(devices[i].dma.profile, port)) {
            dma_harvest(&devices[i].dma);
            tell_errors(&devices[i]);
        }
}

static u64 read_device_port(struct device *d, u16 offset, u8 size, u64 value)
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
    struct device *d = find_port(port, &offset);

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

static u64 write_device_port(struct device *d, u16 offset, u8 size, u64 value, bool *forward)
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
    struct device *d = find_bdf(bdf);

    if (d != NULL)
        read_bars(d);
    hints_configured(bdf);
}

void passthrough_port_write(struct vcpu *vcpu, u16 port, u8 size, u64 value)
{
    u16 offset;
    struct device *d = find_port(port, &offset);
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
}

void passthrough_harvest(struct vcpu *vcpu)
{
    current = vcpu;
    for (unsigned int i = 0; i < device_count; i++) {
        if (dma_outstanding(&devices[i].dma))
            dma_harvest(&devices[i].dma);
        tell_errors(&devices[i]);
    }
    dma_log_time(vcpu);
}

void passthrough_find_work(struct vcpu *vcpu)
{
    current = vcpu;
    for (unsigned int i = 0; i < device_count; i++) {
        dma_find_work(&devices[i].dma);
        tell_errors(&devices[i]);
    }
    dma_log_time(vcpu);
}

bool passthrough_finds_work(void)
{
    for (unsigned int i = 0; i < device_count; i++)
        if (dma_finds_work(&devices[i].dma))
            return true;
    return false;
}

const struct dma_device *passthrough_device(unsigned int i, u16 *bdf)
{
    if (i >= device_count)
        return NULL;
    *bdf = devices[i].bdf;
    return &devices[i].dma;
}

void passthrough_report(void)
{
    for (unsigned int i = 0; i < device_count; i++) {
        const struct dma_device *d = &devices[i].dma;

        printk("{\"lvmm\":\"dma\",\"device\":\"%s\",\"doorbells\":%lu,\"completed\":%lu,"
               "\"rx_packets\":%lu,\"rx_bytes\":%lu,\"tx_bytes\":%lu,\"guest_faults\":%lu,"
               "\"refused_writes\":%lu}\n",
               d->profile->name, d->stats.doorbells, d->stats.completed, d->stats.rx_packets,
               d->stats.rx_bytes, d->stats.tx_bytes, d->stats.guest_faults,
               d->stats.refused_writes);
    }
    hints_report();
}
