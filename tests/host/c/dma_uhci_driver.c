/* The engine and a model of UHCI, driven by tests/host/test_dma_schedule.py. */
#include "dma_pair.h"
#include "dma_uhci.h"

#define FRNUM 0x6

static struct uhci direct_uhci, recorded_uhci;
static bool frames_pass; /* one before each read of the frame number */

static void init(void *device, bool recorded, const struct request *request)
{
    static const struct uhci_bus buses[] = {{NULL, direct_read, direct_write},
                                            {NULL, recorded_read, recorded_write}};

    (void)request;
    uhci_init(device, &buses[recorded]);
    frames_pass = false;
}

static u64 get(const void *device, u32 reg, u8 size)
{
    if (frames_pass && reg == FRNUM) {
        uhci_run_frame(&direct_uhci, 0);
        uhci_run_frame(&recorded_uhci, 0);
    }
    return uhci_read_register(device, reg, size);
}

static void put(void *device, u32 reg, u8 size, u64 value)
{
    uhci_write_register(device, reg, size, (u32)value);
}

static void give(void *device, const struct request *request, const u8 *data)
{
    uhci_set_results(device, data, request->payload_len);
}

static u64 run(void *device, const struct request *request)
{
    uhci_run_frame(device, (u32)request->value);
    return 0;
}

static u32 facts(const void *device, u64 *facts)
{
    const struct uhci *uhci = device;

    facts[0] = uhci->digest;
    facts[1] = uhci->transactions;
    return 2;
}

/* d: a frame of the recorded machine alone. p: whether frames pass, as above. f: may there be work
 * that nothing announces? */
static bool serve(const struct request *request, struct reply *reply)
{
    switch (request->op) {
    case 'p':
        frames_pass = request->value != 0;
        break;
    case 'd':
        uhci_run_frame(&recorded_uhci, (u32)request->value);
        break;
    case 'f':
        reply->status = dma_finds_work(&engine);
        break;
    default:
        return false;
    }
    return true;
}

int main(void)
{
    static const struct device_pair pair = {
        .profile = "uhci",
        .devices = {&direct_uhci, &recorded_uhci},
        .init = init,
        .read = get,
        .write = put,
        .give = give,
        .run = run,
        .facts = facts,
        .serve = serve,
    };

    return pair_serve(&pair);
}
