/* The engine and a model of NVMe, driven by tests/host/test_dma_queues.py. */
#include "dma_nvme.h"
#include "dma_world.h"

#include <string.h>

struct counters {
    struct world_counters world;
    u64 direct_digest, recorded_digest; /* given to the controllers */
    struct dma_stats engine;
};

static struct nvme direct_nvme, recorded_nvme;

static u64 device_read(void *ctx, u32 reg, u8 size)
{
    (void)ctx;
    (void)size;
    return nvme_read_register(&recorded_nvme, reg);
}

static void device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    (void)ctx;
    (void)size;
    nvme_write_register(&recorded_nvme, reg, (u32)value);
}

static s64 init(const struct request *request)
{
    static const struct nvme_bus direct_bus = {NULL, direct_read, direct_write};
    static const struct nvme_bus recorded_bus = {NULL, recorded_read, recorded_write};
    const struct dma_env env = {.device_read = device_read, .device_write = device_write};
    u64 phys;

    memcpy(&phys, payload, sizeof(phys));
    nvme_init(&direct_nvme, &direct_bus, request->reg);
    nvme_init(&recorded_nvme, &recorded_bus, request->reg);
    return world_start("nvme", env, phys, request->value);
}

static void write_nvme(struct nvme *nvme, u32 reg, u8 size, u64 value)
{
    nvme_write_register(nvme, reg, (u32)value);
    if (size == 8) {
        nvme_write_register(nvme, reg + 4, (u32)(value >> 32));
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
        reply->a = dma_shadow_minimum(dma_profile_by_name("nvme"));
        break;
    case 'w':
        write_nvme(&direct_nvme, request->reg, request->size, request->value);
        value =
            dma_on_register_write(&engine, request->reg, request->size, request->value, &forward);
        if (forward) {
            write_nvme(&recorded_nvme, request->reg, request->size, value);
        }
        reply->a = forward;
        break;
    case 'r':
        reply->a = nvme_read_register(&direct_nvme, request->reg);
        reply->b = dma_on_register_read(&engine, request->reg, 4,
                                        nvme_read_register(&recorded_nvme, request->reg));
        break;
    case 'a':
        nvme_set_data(&direct_nvme, payload, request->payload_len);
        nvme_set_data(&recorded_nvme, payload, request->payload_len);
        break;
    case 't':
        reply->a = nvme_run(&direct_nvme, request->port, request->reg);
        reply->b = nvme_run(&recorded_nvme, request->port, request->reg);
        break;
    case 's':
        counters = (struct counters){
            .world = world,
            .direct_digest = direct_nvme.digest,
            .recorded_digest = recorded_nvme.digest,
            .engine = engine.stats,
        };
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
