/* The engine and a model of UHCI, driven by tests/host/test_dma_schedule.py. */
#include "dma_uhci.h"
#include "dma_world.h"

#include <string.h>

struct counters {
    struct world_counters world;
    u64 direct_digest, recorded_digest;
    u64 direct_transactions, recorded_transactions;
    struct dma_stats engine;
};

static struct uhci direct_uhci, recorded_uhci;

static u64 device_read(void *ctx, u32 reg, u8 size)
{
    (void)ctx;
    return uhci_read_register(&recorded_uhci, reg, size);
}

static void device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    (void)ctx;
    uhci_write_register(&recorded_uhci, reg, size, (u32)value);
}

static s64 init(const struct request *request)
{
    static const struct uhci_bus direct_bus = {NULL, direct_read, direct_write};
    static const struct uhci_bus recorded_bus = {NULL, recorded_read, recorded_write};
    const struct dma_env env = {.device_read = device_read, .device_write = device_write};
    u64 phys;

    memcpy(&phys, payload, sizeof(phys));
    uhci_init(&direct_uhci, &direct_bus);
    uhci_init(&recorded_uhci, &recorded_bus);
    return world_start("uhci", env, phys, request->value);
}

static bool serve(const struct request *request, struct reply *reply)
{
    struct counters counters;
    u32 reg = request->reg;
    u8 size = request->size;
    bool forward = true;
    u64 value;

    switch (request->op) {
    case 'I':
        reply->status = init(request);
        reply->a = dma_shadow_minimum(dma_profile_by_name("uhci"));
        break;
    case 'w':
        uhci_write_register(&direct_uhci, reg, size, (u32)request->value);
        value = dma_on_register_write(&engine, reg, size, request->value, &forward);
        if (forward) {
            uhci_write_register(&recorded_uhci, reg, size, (u32)value);
        }
        reply->a = forward;
        break;
    case 'r':
        reply->a = uhci_read_register(&direct_uhci, reg, size);
        reply->b =
            dma_on_register_read(&engine, reg, size, uhci_read_register(&recorded_uhci, reg, size));
        break;
    case 'a':
        uhci_set_results(&direct_uhci, payload, request->payload_len);
        uhci_set_results(&recorded_uhci, payload, request->payload_len);
        break;
    case 't':
        uhci_run_frame(&direct_uhci, (u32)request->value);
        uhci_run_frame(&recorded_uhci, (u32)request->value);
        break;
    case 'd':
        uhci_run_frame(&recorded_uhci, (u32)request->value);
        break;
    case 'f':
        reply->status = dma_finds_work(&engine);
        break;
    case 's':
        counters = (struct counters){
            .world = world,
            .direct_digest = direct_uhci.digest,
            .recorded_digest = recorded_uhci.digest,
            .direct_transactions = direct_uhci.transactions,
            .recorded_transactions = recorded_uhci.transactions,
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
