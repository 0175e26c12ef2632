#include "dma_pair.h"

#include <string.h>

enum { DIRECT, RECORDED };

static const struct device_pair *pair;

static u64 device_read(void *ctx, u32 reg, u8 size)
{
    (void)ctx;
    return pair->read(pair->devices[RECORDED], reg, size);
}

static void device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    (void)ctx;
    pair->write(pair->devices[RECORDED], reg, size, value);
}

static void begin(const struct request *request, struct reply *reply)
{
    const struct dma_env env = {.device_read = device_read, .device_write = device_write};
    u64 phys;

    memcpy(&phys, payload, sizeof(phys));
    for (int i = DIRECT; i <= RECORDED; i++) {
        pair->init(pair->devices[i], i == RECORDED, request);
    }
    reply->status = world_start(pair->profile, env, phys, request->value);
    reply->a = dma_shadow_minimum(dma_profile_by_name(pair->profile));
}

static void write_register(const struct request *request, struct reply *reply)
{
    bool forward = true;
    u64 value;

    pair->write(pair->devices[DIRECT], request->reg, request->size, request->value);
    value = dma_on_register_write(&engine, request->reg, request->size, request->value, &forward);
    if (forward) {
        pair->write(pair->devices[RECORDED], request->reg, request->size, value);
    }
    reply->a = forward;
}

static void read_register(const struct request *request, struct reply *reply)
{
    u64 value = pair->read(pair->devices[RECORDED], request->reg, request->size);

    reply->a = pair->read(pair->devices[DIRECT], request->reg, request->size);
    reply->b = dma_on_register_read(&engine, request->reg, request->size, value);
}

static void tell(struct reply *reply)
{
    static u8 told[sizeof(world) + 2 * PAIR_FACTS_MAX * sizeof(u64) + sizeof(engine.stats)];
    u64 facts[PAIR_FACTS_MAX];
    u32 length = sizeof(world), size;

    memcpy(told, &world, sizeof(world));
    for (int i = DIRECT; i <= RECORDED; i++) {
        size = pair->facts(pair->devices[i], facts) * (u32)sizeof(facts[0]);
        memcpy(told + length, facts, size);
        length += size;
    }
    memcpy(told + length, &engine.stats, sizeof(engine.stats));
    answer(told, length + (u32)sizeof(engine.stats), reply);
}

static bool serve(const struct request *request, struct reply *reply)
{
    switch (request->op) {
    case 'I':
        begin(request, reply);
        break;
    case 'w':
        write_register(request, reply);
        break;
    case 'r':
        read_register(request, reply);
        break;
    case 'a':
        pair->give(pair->devices[DIRECT], request, payload);
        pair->give(pair->devices[RECORDED], request, payload);
        break;
    case 't':
        reply->a = pair->run(pair->devices[DIRECT], request);
        reply->b = pair->run(pair->devices[RECORDED], request);
        break;
    case 's':
        tell(reply);
        break;
    default:
        return pair->serve != NULL && pair->serve(request, reply);
    }
    return true;
}

int pair_serve(const struct device_pair *of_devices)
{
    pair = of_devices;
    return world_serve(serve);
}
