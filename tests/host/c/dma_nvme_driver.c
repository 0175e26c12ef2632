/* The engine and a model of NVMe, driven by tests/host/test_dma_queues.py. */
#include "dma_nvme.h"
#include "dma_pair.h"

static struct nvme direct_nvme, recorded_nvme;

static void init(void *device, bool recorded, const struct request *request)
{
    static const struct nvme_bus buses[] = {{NULL, direct_read, direct_write},
                                            {NULL, recorded_read, recorded_write}};

    nvme_init(device, &buses[recorded], request->reg);
}

static u64 get(const void *device, u32 reg, u8 size)
{
    (void)size;
    return nvme_read_register(device, reg);
}

static void put(void *device, u32 reg, u8 size, u64 value)
{
    nvme_write_register(device, reg, (u32)value);
    if (size == 8) {
        nvme_write_register(device, reg + 4, (u32)(value >> 32));
    }
}

static void give(void *device, const struct request *request, const u8 *data)
{
    nvme_set_data(device, data, request->payload_len);
}

static u64 run(void *device, const struct request *request)
{
    return nvme_run(device, request->port, request->reg);
}

/* What was given to the controller. */
static u32 facts(const void *device, u64 *digest)
{
    *digest = ((const struct nvme *)device)->digest;
    return 1;
}

int main(void)
{
    static const struct device_pair pair = {
        .profile = "nvme",
        .devices = {&direct_nvme, &recorded_nvme},
        .init = init,
        .read = get,
        .write = put,
        .give = give,
        .run = run,
        .facts = facts,
    };

    return pair_serve(&pair);
}
