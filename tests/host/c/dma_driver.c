/* The engine and a model of a NIC with rings, driven by tests/host/dma_machine.py. */
#include "dma_nic.h"
#include "dma_world.h"

#include <string.h>

struct counters {
    struct world_counters world;
    u64 direct_frames, direct_digest; /* transmitted */
    u64 recorded_frames, recorded_digest, recorded_bytes;
    struct dma_stats engine;
};

static struct nic direct_nic, recorded_nic;

static const char *const names[] = {
    [NIC_E1000] = "e1000",
    [NIC_TOY] = "toy",
    [NIC_E1000E] = "e1000e",
    [NIC_IGB] = "igb",
};

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

static s64 init(const struct request *request)
{
    static const struct nic_bus direct_bus = {NULL, direct_read, direct_write};
    static const struct nic_bus recorded_bus = {NULL, recorded_read, recorded_write};
    struct dma_env env = {.device_read = device_read, .device_write = device_write};
    u64 phys;

    memcpy(&phys, payload, sizeof(phys));
    memcpy(&env.sent_max, payload + sizeof(phys), sizeof(env.sent_max));
    nic_init(&direct_nic, request->reg, &direct_bus);
    nic_init(&recorded_nic, request->reg, &recorded_bus);
    direct_nic.reset_keeps_registers = request->size;
    recorded_nic.reset_keeps_registers = request->size;
    return world_start(names[request->reg], env, phys, request->value);
}

/* A faulty device: payload over the shadow descriptor at the head, its address field excepted. */
static void corrupt_descriptor(bool rx, u32 len)
{
    u64 address = nic_head_descriptor(&recorded_nic, rx) + 8;

    if (is_shadow(address, len)) {
        memcpy(shadow + (address - shadow_phys), payload, len);
    }
}

static bool serve(const struct request *request, struct reply *reply)
{
    bool forward = true;
    struct counters counters;
    u64 value;

    switch (request->op) {
    case 'I':
        reply->status = init(request);
        reply->a = dma_shadow_minimum(dma_profile_by_name(names[request->reg]));
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
    case 's':
        counters = (struct counters){
            .world = world,
            .direct_frames = direct_nic.frames,
            .direct_digest = direct_nic.digest,
            .recorded_frames = recorded_nic.frames,
            .recorded_digest = recorded_nic.digest,
            .recorded_bytes = recorded_nic.bytes,
            .engine = engine.stats,
        };
        answer(&counters, sizeof(counters), reply);
        break;
    case 'd':
        corrupt_descriptor(request->size, request->payload_len);
        break;
    default:
        return false;
    }
    return true;
}

int main(void)
{
    return world_serve(serve);
}
