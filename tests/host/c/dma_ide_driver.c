/* The engine and a model of bus-master IDE, driven by tests/host/ide_machine.py. */
#include "dma_ide.h"
#include "dma_world.h"

#include <string.h>

struct counters {
    struct world_counters world;
    u64 direct_digests[IDE_CHANNELS], recorded_digests[IDE_CHANNELS]; /* given to the drives */
    struct dma_stats engine;
};

static struct ide direct_ide, recorded_ide;

static void write_ide(struct ide *ide, u32 reg, u8 size, u64 value)
{
    for (u32 i = 0; i < size; i++) {
        ide_write_register(ide, reg + i, (u8)(value >> (8 * i)));
    }
}

static u64 read_ide(const struct ide *ide, u32 reg, u8 size)
{
    u64 value = 0;

    for (u32 i = 0; i < size; i++) {
        value |= (u64)ide_read_register(ide, reg + i) << (8 * i);
    }
    return value;
}

static u64 device_read(void *ctx, u32 reg, u8 size)
{
    (void)ctx;
    return read_ide(&recorded_ide, reg, size);
}

static void device_write(void *ctx, u32 reg, u8 size, u64 value)
{
    (void)ctx;
    write_ide(&recorded_ide, reg, size, value);
}

static s64 init(const struct request *request)
{
    static const struct ide_bus direct_bus = {NULL, direct_read, direct_write};
    static const struct ide_bus recorded_bus = {NULL, recorded_read, recorded_write};
    const struct dma_env env = {.device_read = device_read, .device_write = device_write};
    u64 phys;

    memcpy(&phys, payload, sizeof(phys));
    ide_init(&direct_ide, &direct_bus);
    ide_init(&recorded_ide, &recorded_bus);
    return world_start("piix_ide", env, phys, request->value);
}

static bool serve(const struct request *request, struct reply *reply)
{
    struct counters counters;
    bool forward = true;
    u64 value;

    switch (request->op) {
    case 'I':
        reply->status = init(request);
        reply->a = dma_shadow_minimum(dma_profile_by_name("piix_ide"));
        break;
    case 'w':
        write_ide(&direct_ide, request->reg, request->size, request->value);
        value =
            dma_on_register_write(&engine, request->reg, request->size, request->value, &forward);
        if (forward) {
            write_ide(&recorded_ide, request->reg, request->size, value);
        }
        break;
    case 'r':
        reply->a = read_ide(&direct_ide, request->reg, request->size);
        reply->b = dma_on_register_read(&engine, request->reg, request->size,
                                        read_ide(&recorded_ide, request->reg, request->size));
        break;
    case 'a':
        ide_ask(&direct_ide, request->reg, payload, request->payload_len);
        ide_ask(&recorded_ide, request->reg, payload, request->payload_len);
        break;
    case 't':
        ide_run(&direct_ide, request->reg, (u32)request->value);
        ide_run(&recorded_ide, request->reg, (u32)request->value);
        break;
    case 's':
        counters = (struct counters){.world = world, .engine = engine.stats};
        for (u32 i = 0; i < IDE_CHANNELS; i++) {
            counters.direct_digests[i] = direct_ide.channels[i].digest;
            counters.recorded_digests[i] = recorded_ide.channels[i].digest;
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
