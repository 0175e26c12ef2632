#include "core/device_access.h"
#include "arch/lapic.h"
#include "board_config.h"
#include "core/console.h"
#include "core/dma_log.h"
#include "core/guest_time.h"
#include "core/machine_power.h"
#include "core/passthrough.h"
#include "core/pci.h"
#include "lib/string.h"
#include "replay/session.h"

#define UART_PORTS 8

/* The performance-counter entry of the local vector table is the monitor's; the guest, which has no
 * counters, keeps only a memory of what it wrote. */
static u32 guest_lvt_pc = 0x10000;

static bool is_lvt_pc(u64 gpa)
{
    return gpa == LAPIC_BASE + LAPIC_LVT_PC;
}

/* The local APIC's registers are 32 bits wide and 16 bytes apart. Another access is undefined, and
 * may hang the machine (SDM vol. 3, section 10.4.1): it reads as ones and writes nothing. */
static bool is_undefined(u64 gpa, u8 size)
{
    return (gpa & ~PAGE_MASK) == LAPIC_BASE && (size != 4 || gpa % 16 != 0);
}

/* INIT and start-up IPIs would start processors that the monitor does not control. */
static bool starts_processor(u64 gpa, u64 value)
{
    u64 delivery = value >> 8 & 7;

    return gpa == LAPIC_BASE + LAPIC_ICR_LOW && (delivery == 5 || delivery == 6);
}

static int input(struct vcpu *vcpu, struct log_event *e)
{
    if (session_replaying())
        session_apply_asked(vcpu);
    guest_time_advance(vcpu);
    return session_input(vcpu, e);
}

static void output(struct vcpu *vcpu, u32 kind, u64 address, u64 value)
{
    if (session_replaying())
        session_apply_asked(vcpu);
    guest_time_advance(vcpu);
    session_output(kind, address, value);
}

int device_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *value)
{
    struct log_event e;
    int error;

    if (is_lvt_pc(gpa)) {
        *value = guest_lvt_pc;
        return 0;
    }
    if (is_undefined(gpa, size)) {
        *value = ~0ULL >> (64 - size * 8);
        return 0;
    }
    session_event(&e, LOG_EVENT_MMIO_READ);
    e.payload.mmio_read = (struct log_mmio_read){.gpa = gpa, .size = size};
    if (!session_replaying()) {
        dma_log_at(SESSION_AT_READ);
        e.payload.mmio_read.value = passthrough_memory_read(vcpu, gpa, size);
        dma_log_at(SESSION_BETWEEN_INSTRUCTIONS);
    }
    error = input(vcpu, &e);
    *value = e.payload.mmio_read.value;
    return error;
}

void device_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 value)
{
    if (is_lvt_pc(gpa)) {
        guest_lvt_pc = (u32)value;
    } else if (!session_replaying() && !starts_processor(gpa, value) && !is_undefined(gpa, size)) {
        dma_log_at(SESSION_AT_WRITE);
        passthrough_memory_write(vcpu, gpa, size, value);
        dma_log_at(SESSION_BETWEEN_INSTRUCTIONS);
    }
    output(vcpu, OUTPUT_MEMORY, gpa, value);
}

/* Whether any byte of an access is one of the monitor's UART. */
static bool is_monitor_port(u16 port, u8 size)
{
    return port < MONITOR_SERIAL + UART_PORTS && port + size > MONITOR_SERIAL;
}

int port_read(struct vcpu *vcpu, u16 port, u8 size, u64 *value)
{
    struct log_event e;
    int error;

    if (is_monitor_port(port, size)) {
        *value = ~0ULL >> (64 - size * 8);
        return 0;
    }
    session_event(&e, LOG_EVENT_IN);
    e.payload.in = (struct log_in){.port = port, .size = size};
    if (!session_replaying()) {
        dma_log_at(SESSION_AT_READ);
        e.payload.in.value = passthrough_port_read(vcpu, port, size);
        dma_log_at(SESSION_BETWEEN_INSTRUCTIONS);
    }
    error = input(vcpu, &e);
    *value = e.payload.in.value;
    return error;
}

int port_read_string(struct vcpu *vcpu, u16 port, u8 size, u8 *buf, u32 count)
{
    struct log_event e = {.kind = LOG_EVENT_IN_STRING,
                          .payload.in_string = {.port = port, .size = size},
                          .data = buf,
                          .data_len = count * size};
    int error;

    if (is_monitor_port(port, size)) {
        memset(buf, 0xff, e.data_len);
        return 0;
    }
    if (!session_replaying()) {
        dma_log_at(SESSION_AT_READ);
        passthrough_port_read_string(vcpu, port, size, buf, count);
        dma_log_at(SESSION_BETWEEN_INSTRUCTIONS);
    }
    error = input(vcpu, &e);
    if (error == 0 && e.data != buf)
        memcpy(buf, e.data, e.data_len);
    return error;
}

void port_write(struct vcpu *vcpu, u16 port, u8 size, u64 value)
{
    u64 forwarded;
    u8 reason;

    if (is_monitor_port(port, size))
        return;
    reason = machine_power_on_write(port, size, value);
    if (reason != 0) {
        session_end(vcpu, reason, false);
        return;
    }
    forwarded = machine_power_forward(port, size, value);
    console_on_write(vcpu, port, value);
    if (!session_replaying()) {
        dma_log_at(SESSION_AT_WRITE);
        passthrough_port_write(vcpu, port, size, forwarded);
        dma_log_at(SESSION_BETWEEN_INSTRUCTIONS);
    }
    output(vcpu, OUTPUT_PORT, port, value);
}

void device_access_save(struct log_cpu_state *out)
{
    out->lvt_pc = guest_lvt_pc;
}

void device_access_restore(const struct log_cpu_state *from)
{
    guest_lvt_pc = from->lvt_pc;
}
