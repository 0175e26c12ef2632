/*
 * The DMA engine in a world of its own, driven over stdin and stdout by tests/host/dma_machine.py.
 *
 * Two machines get the same accesses: in the direct one the NIC reaches the guest's memory, in the
 * recorded one the engine stands between. A third memory is the replay: it gets the guest's own
 * writes and what the engine emitted, nothing else.
 */
#include "dma/dma.h"
#include "dma_nic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RAM_SIZE     0x200000U
#define HOLE_BEGIN   0xa0000U
#define HOLE_END     0xc0000U
#define MAX_RECORDS  65536
#define JOURNAL_SIZE (1U << 20)

struct record {
    u32 stream, len;
    u64 gpa;
};

/* Before the data of what the engine told, in the journal. */
struct entry {
    u8 kind, stream, flags, reserved;
    u32 length, len;
    u64 gpa;
} __attribute__((packed));

enum { TOLD_WRITE, TOLD_SENT };

struct counters {
    u64 ram_writes;   /* by the NIC of the recorded machine: must stay 0 */
    u64 stray_writes; /* of the NIC to neither RAM nor shadow */
    u64 stray_reads;
    u64 emitted_bytes;
    u64 direct_frames, direct_digest; /* transmitted */
    u64 recorded_frames, recorded_digest, recorded_bytes;
    struct dma_stats engine;
};

static struct nic direct_nic, recorded_nic;
static u8 direct_ram[RAM_SIZE], recorded_ram[RAM_SIZE], replayed_ram[RAM_SIZE];
static u8 *shadow;
static u64 shadow_phys, shadow_size;
static struct dma_device engine;
static struct counters counters;
static struct record records[MAX_RECORDS];
static u32 record_count;
static u8 journal[JOURNAL_SIZE];
static u32 journal_used;

static bool is_ram(u64 address, u32 len)
{
    return address < RAM_SIZE && len <= RAM_SIZE - address &&
           (address + len <= HOLE_BEGIN || address >= HOLE_END);
}

static bool is_shadow(u64 address, u32 len)
{
    return address >= shadow_phys && address - shadow_phys < shadow_size &&
           len <= shadow_size - (address - shadow_phys);
}

/* --- the buses --- */

static void direct_read(void *ctx, u64 address, void *buf, u32 len)
{
    (void)ctx;
    if (is_ram(address, len)) {
        memcpy(buf, direct_ram + address, len);
    } else {
        memset(buf, 0, len);
    }
}

static void direct_write(void *ctx, u64 address, const void *buf, u32 len)
{
    (void)ctx;
    if (is_ram(address, len)) {
        memcpy(direct_ram + address, buf, len);
    }
}

static void recorded_read(void *ctx, u64 address, void *buf, u32 len)
{
    (void)ctx;
    if (is_ram(address, len)) {
        memcpy(buf, recorded_ram + address, len);
    } else if (is_shadow(address, len)) {
        memcpy(buf, shadow + (address - shadow_phys), len);
    } else {
        memset(buf, 0, len);
        counters.stray_reads++;
    }
}

static void recorded_write(void *ctx, u64 address, const void *buf, u32 len)
{
    (void)ctx;
    if (is_shadow(address, len)) {
        memcpy(shadow + (address - shadow_phys), buf, len);
    } else if (is_ram(address, len)) {
        counters.ram_writes++;
    } else {
        counters.stray_writes++;
    }
}

/* --- the engine's surroundings --- */

static int guest_read(void *ctx, u64 gpa, void *buf, u32 len)
{
    (void)ctx;
    if (!is_ram(gpa, len)) {
        return ERR_FAULT;
    }
    memcpy(buf, recorded_ram + gpa, len);
    return 0;
}

static int guest_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
    (void)ctx;
    if (!is_ram(gpa, len)) {
        return ERR_FAULT;
    }
    memcpy(recorded_ram + gpa, buf, len);
    return 0;
}

static void tell(struct entry entry, const void *data)
{
    if (journal_used + sizeof(entry) + entry.len > JOURNAL_SIZE) {
        return;
    }
    memcpy(journal + journal_used, &entry, sizeof(entry));
    if (entry.len != 0) {
        memcpy(journal + journal_used + sizeof(entry), data, entry.len);
    }
    journal_used += sizeof(entry) + entry.len;
}

static int sent(void *ctx, u8 stream, u8 flags, u32 length, const void *data, u32 len)
{
    (void)ctx;
    tell((struct entry){TOLD_SENT, stream, flags, 0, length, len, 0}, data);
    return 0;
}

static void emit(void *ctx, u8 stream, u64 gpa, const void *data, u32 len)
{
    (void)ctx;
    tell((struct entry){TOLD_WRITE, stream, 0, 0, len, len, gpa}, data);
    if (!is_ram(gpa, len) || len == 0) {
        abort();
    }
    memcpy(replayed_ram + gpa, data, len);
    counters.emitted_bytes += len;
    if (record_count < MAX_RECORDS) {
        records[record_count++] = (struct record){stream, len, gpa};
    }
}

static u64 device_read(void *ctx, u32 reg, u8 size)
{
    (void)ctx;
    (void)size;
    return nic_read_register(&recorded_nic, reg);
}

static void device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    (void)ctx;
    (void)size;
    nic_write_register(&recorded_nic, reg, (u32)value);
}

/* --- the guest's accesses --- */

/* The NICs take only aligned accesses of 4 or 8 bytes, as the 8254x does. */
static void write_nic(struct nic *nic, u32 reg, u8 size, u64 value)
{
    if (reg % 4 || size < 4) {
        return;
    }
    nic_write_register(nic, reg, (u32)value);
    if (size == 8) {
        nic_write_register(nic, reg + 4, (u32)(value >> 32));
    }
}

static u64 read_nic(struct nic *nic, u32 reg, u8 size)
{
    u64 value = 0;

    for (u32 i = 0; i < size; i++) {
        value |= (u64)(nic_read_register(nic, reg + i) >> (8 * ((reg + i) % 4)) & 0xff) << (8 * i);
    }
    return value;
}

static void write_port(struct nic *nic, u16 port, u8 size, u64 value)
{
    if (port == 0 && size == 4) {
        nic->io_address = (u32)value;
    } else if (port == 4) {
        write_nic(nic, nic->io_address, size, value);
    }
}

static u64 read_port(struct nic *nic, u16 port, u8 size)
{
    return port == 4 ? read_nic(nic, nic->io_address, size) : nic->io_address;
}

/* --- the protocol --- */

struct request {
    u8 op, size;
    u16 port;
    u32 reg;
    u64 value;
    u32 payload_len;
} __attribute__((packed));

struct reply {
    s64 status;
    u64 a, b;
    u32 payload_len;
} __attribute__((packed));

static u8 payload[RAM_SIZE];

static void must_read(void *buf, size_t len)
{
    if (len != 0 && fread(buf, len, 1, stdin) != 1) {
        exit(0);
    }
}

static s64 init(const struct request *request)
{
    static const struct nic_bus direct_bus = {NULL, direct_read, direct_write};
    static const struct nic_bus recorded_bus = {NULL, recorded_read, recorded_write};
    struct dma_env env = {
        .guest_read = guest_read,
        .guest_write = guest_write,
        .emit = emit,
        .device_read = device_read,
        .device_write = device_write,
        .sent = sent,
    };
    const char *names[] = {"e1000", "toy"};

    free(shadow);
    shadow_size = request->value;
    memcpy(&shadow_phys, payload, sizeof(shadow_phys));
    memcpy(&env.sent_max, payload + sizeof(shadow_phys), sizeof(env.sent_max));
    shadow = malloc(shadow_size ? shadow_size : 1);
    memset(shadow, 0xa5, shadow_size);
    memset(&counters, 0, sizeof(counters));
    memset(direct_ram, 0, RAM_SIZE);
    memset(recorded_ram, 0, RAM_SIZE);
    memset(replayed_ram, 0, RAM_SIZE);
    record_count = 0;
    journal_used = 0;
    nic_init(&direct_nic, request->reg, &direct_bus);
    nic_init(&recorded_nic, request->reg, &recorded_bus);
    direct_nic.reset_keeps_registers = request->size;
    recorded_nic.reset_keeps_registers = request->size;
    return dma_device_init(&engine, dma_profile_by_name(names[request->reg]), &env, shadow,
                           shadow_phys, shadow_size);
}

static s64 first_difference(const u8 *a, const u8 *b)
{
    u32 i = 0;

    if (memcmp(a, b, RAM_SIZE) == 0) {
        return -1;
    }
    while (a[i] == b[i]) {
        i++;
    }
    return i;
}

static void cpu_write(u64 gpa, u32 len)
{
    memcpy(direct_ram + gpa, payload, len);
    memcpy(recorded_ram + gpa, payload, len);
    memcpy(replayed_ram + gpa, payload, len);
}

/* A faulty device: payload over the shadow descriptor at the head, its address field excepted. */
static void corrupt_descriptor(bool rx, u32 len)
{
    u64 address = nic_head_descriptor(&recorded_nic, rx) + 8;

    if (is_shadow(address, len)) {
        memcpy(shadow + (address - shadow_phys), payload, len);
    }
}

static void answer(void *data, u32 len, struct reply *reply)
{
    memcpy(payload, data, len);
    reply->payload_len = len;
}

static void serve(const struct request *request, struct reply *reply)
{
    bool forward = true;
    const char *text;
    u64 value;

    switch (request->op) {
    case 'I':
        reply->status = init(request);
        reply->a = dma_shadow_minimum(dma_profile_by_name(request->reg ? "toy" : "e1000"));
        break;
    case 'w':
        write_nic(&direct_nic, request->reg, request->size, request->value);
        value =
            dma_on_register_write(&engine, request->reg, request->size, request->value, &forward);
        if (forward) {
            write_nic(&recorded_nic, request->reg, request->size, value);
        }
        reply->a = forward;
        reply->b = value;
        break;
    case 'r':
        reply->a = read_nic(&direct_nic, request->reg, request->size);
        reply->b = dma_on_register_read(&engine, request->reg, request->size,
                                        read_nic(&recorded_nic, request->reg, request->size));
        break;
    case 'p':
        write_port(&direct_nic, request->port, request->size, request->value);
        value = dma_on_port_write(&engine, request->port, request->size, request->value, &forward);
        if (forward) {
            write_port(&recorded_nic, request->port, request->size, value);
        }
        reply->a = forward;
        reply->b = value;
        break;
    case 'q':
        reply->a = read_port(&direct_nic, request->port, request->size);
        reply->b = dma_on_port_read(&engine, request->port, request->size,
                                    read_port(&recorded_nic, request->port, request->size));
        break;
    case 'm':
        cpu_write(request->value, request->payload_len);
        break;
    case 'g':
        answer(recorded_ram + request->value, request->reg, reply);
        break;
    case 'f':
        nic_receive(&direct_nic, payload, request->payload_len);
        nic_receive(&recorded_nic, payload, request->payload_len);
        break;
    case 't':
        nic_transmit(&direct_nic, request->reg, request->size);
        nic_transmit(&recorded_nic, request->reg, request->size);
        break;
    case 'u':
        nic_flush(&direct_nic);
        nic_flush(&recorded_nic);
        break;
    case 'h':
        reply->status = dma_harvest(&engine);
        break;
    case 'o':
        reply->status = dma_outstanding(&engine);
        break;
    case 'c':
        reply->a = (u64)first_difference(direct_ram, recorded_ram);
        reply->b = (u64)first_difference(recorded_ram, replayed_ram);
        break;
    case 's':
        counters.engine = engine.stats;
        counters.direct_frames = direct_nic.frames;
        counters.direct_digest = direct_nic.digest;
        counters.recorded_frames = recorded_nic.frames;
        counters.recorded_digest = recorded_nic.digest;
        counters.recorded_bytes = recorded_nic.bytes;
        answer(&counters, sizeof(counters), reply);
        break;
    case 'l':
        answer(records, record_count * sizeof(records[0]), reply);
        record_count = 0;
        break;
    case 'j':
        answer(journal, journal_used, reply);
        journal_used = 0;
        break;
    case 'e':
        text = dma_take_error(&engine);
        answer((void *)(text ? text : ""), text ? (u32)strlen(text) : 0, reply);
        break;
    case 'd':
        corrupt_descriptor(request->size, request->payload_len);
        break;
    default:
        abort();
    }
}

int main(void)
{
    struct request request;
    struct reply reply;

    for (;;) {
        must_read(&request, sizeof(request));
        if (request.payload_len > sizeof(payload)) {
            abort();
        }
        must_read(payload, request.payload_len);
        memset(&reply, 0, sizeof(reply));
        serve(&request, &reply);
        fwrite(&reply, sizeof(reply), 1, stdout);
        fwrite(payload, reply.payload_len, 1, stdout);
        fflush(stdout);
    }
}
