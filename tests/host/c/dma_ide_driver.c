/* The engine and a model of bus-master IDE, driven by tests/host/ide_machine.py. */
#include "dma_ide.h"
#include "dma_pair.h"

static struct ide direct_ide, recorded_ide;

static void init(void *device, bool recorded, const struct request *request)
{
    static const struct ide_bus buses[] = {{NULL, direct_read, direct_write},
                                           {NULL, recorded_read, recorded_write}};

    (void)request;
    ide_init(device, &buses[recorded]);
}

static u64 get(const void *device, u32 reg, u8 size)
{
    u64 value = 0;

    for (u32 i = 0; i < size; i++) {
        value |= (u64)ide_read_register(device, reg + i) << (8 * i);
    }
    return value;
}

static void put(void *device, u32 reg, u8 size, u64 value)
{
    for (u32 i = 0; i < size; i++) {
        ide_write_register(device, reg + i, (u8)(value >> (8 * i)));
    }
}

static void give(void *device, const struct request *request, const u8 *data)
{
    ide_ask(device, request->reg, data, request->payload_len);
}

static u64 run(void *device, const struct request *request)
{
    ide_run(device, request->reg, (u32)request->value);
    return 0;
}

/* What was given to the drives of each channel. */
static u32 facts(const void *device, u64 *digests)
{
    const struct ide *ide = device;

    for (u32 i = 0; i < IDE_CHANNELS; i++) {
        digests[i] = ide->channels[i].digest;
    }
    return IDE_CHANNELS;
}

int main(void)
{
    static const struct device_pair pair = {
        .profile = "piix_ide",
        .devices = {&direct_ide, &recorded_ide},
        .init = init,
        .read = get,
        .write = put,
        .give = give,
        .run = run,
        .facts = facts,
    };

    return pair_serve(&pair);
}
