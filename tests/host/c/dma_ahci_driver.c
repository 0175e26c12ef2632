/* The engine and a model of AHCI, driven by tests/host/test_dma_slots.py. */
#include "dma_ahci.h"
#include "dma_pair.h"

static struct ahci direct_ahci, recorded_ahci;

static void init(void *device, bool recorded, const struct request *request)
{
    static const struct ahci_bus buses[] = {{NULL, direct_read, direct_write},
                                            {NULL, recorded_read, recorded_write}};

    (void)request;
    ahci_init(device, &buses[recorded]);
}

static u64 get(const void *device, u32 reg, u8 size)
{
    (void)size;
    return ahci_read_register(device, reg);
}

static void put(void *device, u32 reg, u8 size, u64 value)
{
    ahci_write_register(device, reg, (u32)value);
    if (size == 8) {
        ahci_write_register(device, reg + 4, (u32)(value >> 32));
    }
}

static void give(void *device, const struct request *request, const u8 *data)
{
    ahci_set_data(device, data, request->payload_len);
}

static u64 run(void *device, const struct request *request)
{
    ahci_run(device, request->port, request->reg, (u32)request->value);
    return 0;
}

/* What was given to each drive. */
static u32 facts(const void *device, u64 *digests)
{
    const struct ahci *ahci = device;

    for (u32 i = 0; i < AHCI_PORTS; i++) {
        digests[i] = ahci->ports[i].digest;
    }
    return AHCI_PORTS;
}

int main(void)
{
    static const struct device_pair pair = {
        .profile = "ahci",
        .devices = {&direct_ahci, &recorded_ahci},
        .init = init,
        .read = get,
        .write = put,
        .give = give,
        .run = run,
        .facts = facts,
    };

    return pair_serve(&pair);
}
