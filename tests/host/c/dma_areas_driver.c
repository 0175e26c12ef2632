/* Areas that a driver declares, and a device that reads and writes where it is told to, driven by
 * tests/host/areas_machine.py. */
#include "dma/areas.h"
#include "dma_world.h"

#include <string.h>

/* In a request's payload, before data if there is any. */
struct arguments {
    u64 gpa, length;
    u32 owner, kind;
} __attribute__((packed));

/* What the device is to write while the engine looks at guest memory, and how often it may before.
 */
static struct {
    u64 address;
    u32 looks, length;
    u8 data[2 * PAGE_SIZE];
} late;

static void write_late(void)
{
    if (late.looks-- != 0) {
        return;
    }
    world_on_guest_page = NULL;
    recorded_write(NULL, late.address, late.data, late.length);
}

static struct reply map(const struct arguments *arguments)
{
    struct dma_area area = {
        .gpa = arguments->gpa,
        .length = arguments->length,
        .owner = arguments->owner,
        .kind = (u8)arguments->kind,
        .stream = (u8)(arguments->kind == DMA_AREA_SHARED),
    };
    u64 address = 0;
    s64 status = dma_area_map(&engine, &area, &address);

    return (struct reply){.status = status, .a = address};
}

static void device_writes(u64 address, const struct arguments *arguments)
{
    const u8 *data = payload + sizeof(*arguments);

    direct_write(NULL, arguments->gpa, data, (u32)arguments->length);
    recorded_write(NULL, address, data, (u32)arguments->length);
}

/* What the device of the recorded machine reads, then that of the direct one. */
static void device_reads(u64 address, const struct arguments *arguments, struct reply *reply)
{
    static u8 data[2 * RAM_SIZE];
    u32 length = (u32)arguments->length;

    recorded_read(NULL, address, data, length);
    direct_read(NULL, arguments->gpa, data + length, length);
    answer(data, 2 * length, reply);
}

static bool serve(const struct request *request, struct reply *reply)
{
    struct arguments arguments;

    memcpy(&arguments, payload, sizeof(arguments));
    switch (request->op) {
    case 'I':
        reply->status = world_start(NULL, (struct dma_env){0}, arguments.gpa, arguments.length);
        break;
    case 'p':
        *reply = map(&arguments);
        break;
    case 'u':
        reply->status = dma_area_unmap(&engine, arguments.owner, request->value);
        break;
    case 'y':
        reply->status =
            dma_area_sync_for_cpu(&engine, arguments.owner, request->value, arguments.length);
        break;
    case 'z':
        reply->status =
            dma_area_sync_for_device(&engine, arguments.owner, request->value, arguments.length);
        break;
    case 'x':
        dma_areas_release(&engine, arguments.owner);
        break;
    case 'L':
        late.address = request->value;
        late.looks = arguments.kind;
        late.length = request->payload_len - (u32)sizeof(arguments);
        memcpy(late.data, payload + sizeof(arguments), late.length);
        world_on_guest_page = write_late;
        break;
    case 'W':
        device_writes(request->value, &arguments);
        break;
    case 'R':
        device_reads(request->value, &arguments, reply);
        break;
    case 's':
        answer(&world, sizeof(world), reply);
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
