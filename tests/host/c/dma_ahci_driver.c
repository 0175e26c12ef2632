/* The engine and a model of AHCI, driven by tests/host/test_dma_slots.py. */
#include "dma_ahci.h"
#include "dma_world.h"

#include <string.h>

struct counters {
    struct world_counters world;
    u64 direct_digests[AHCI_PORTS], recorded_digests[AHCI_PORTS]; /* given to the drives */
    struct dma_stats engine;
};

static struct ahci direct_ahci, recorded_ahci;

static u64 device_read(void *ctx, u32 reg, u8 size)
{
    (void)ctx;
    (void)size;
    return ahci_read_register(&recorded_ahci, reg);
}

static void device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    (void)ctx;
    (void)size;
    ahci_write_register(&recorded_ahci, reg, (u32)value);
}

static s64 init(const struct request *request)
{
    static const struct ahci_bus direct_bus = {NULL, direct_read, direct_write};
    static const struct ahci_bus recorded_bus = {NULL, recorded_read, recorded_write};
    const struct dma_env env = {.device_read = device_read, .device_write = device_write};
    u64 phys;

    memcpy(&phys, payload, sizeof(phys));
    ahci_init(&direct_ahci, &direct_bus);
    ahci_init(&recorded_ahci, &recorded_bus);
    return world_start("ahci", env, phys, request->value);
}

static void write_ahci(struct ahci *ahci, u32 reg, u8 size, u64 value)
{
    ahci_write_register(ahci, reg, (u32)value);
    if (size == 8) {
        ahci_write_register(ahci, reg + 4, (u32)(value >> 32));
    }
}

static bool serve(const struct request *request, struct reply *reply)
{
    struct counters counters;
    bool forward = true;
    u64 value;

    switch (request->op) {
    case 'I':
        reply->status = init(request);
        reply->a = dma_shadow_minimum(dma_profile_by_name("ahci"));
        break;
    case 'w':
        write_ahci(&direct_ahci, request->reg, request->size, request->value);
        value =
            dma_on_register_write(&engine, request->reg, request->size, request->value, &forward);
        if (forward) {
            write_ahci(&recorded_ahci, request->reg, request->size, value);
        }
        reply->a = forward;
        break;
    case 'r':
        reply->a = ahci_read_register(&direct_ahci, request->reg);
        reply->b = dma_on_register_read(&engine, request->reg, 4,
                                        ahci_read_register(&recorded_ahci, request->reg));
        break;
    case 'a':
        ahci_set_data(&direct_ahci, payload, request->payload_len);
        ahci_set_data(&recorded_ahci, payload, request->payload_len);
        break;
    case 't':
        ahci_run(&direct_ahci, request->port, request->reg, (u32)request->value);
        ahci_run(&recorded_ahci, request->port, request->reg, (u32)request->value);
        break;
    case 's':
        counters = (struct counters){.world = world, .engine = engine.stats};
        for (u32 i = 0; i < AHCI_PORTS; i++) {
            counters.direct_digests[i] = direct_ahci.ports[i].digest;
            counters.recorded_digests[i] = recorded_ahci.ports[i].digest;
        }
        answer(&counters, sizeof(counters), reply);
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
