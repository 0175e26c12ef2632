#include "dma_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECORDS  65536
#define MAX_OWNED    16384
#define JOURNAL_SIZE (1U << 20)

struct record {
    u32 stream, len;
    u64 gpa;
};

/* Before the data of what the engine told, in the journal. */
struct entry {
    u8 kind, stream, flags, reserved;
    u32 length, len;
    u64 gpa;
} __attribute__((packed));

enum { TOLD_WRITE, TOLD_SENT };

void (*world_on_guest_page)(void);
struct dma_device engine;
struct world_counters world;
u8 payload[RAM_SIZE];
u8 *shadow;
u64 shadow_phys, shadow_size;

static u8 direct_ram[RAM_SIZE], recorded_ram[RAM_SIZE], replayed_ram[RAM_SIZE];
static struct record records[MAX_RECORDS];
static u32 record_count;
static u8 journal[JOURNAL_SIZE];
static u32 journal_used;

static bool is_ram(u64 address, u32 len)
{
    return address < RAM_SIZE && len <= RAM_SIZE - address &&
           (address + len <= HOLE_BEGIN || address >= HOLE_END);
}

bool is_shadow(u64 address, u32 len)
{
    return address >= shadow_phys && address - shadow_phys < shadow_size &&
           len <= shadow_size - (address - shadow_phys);
}

/* --- the buses --- */

void direct_read(void *ctx, u64 address, void *buf, u32 len)
{
    (void)ctx;
    if (is_ram(address, len)) {
        memcpy(buf, direct_ram + address, len);
    } else {
        memset(buf, 0, len);
    }
}

void direct_write(void *ctx, u64 address, const void *buf, u32 len)
{
    (void)ctx;
    if (is_ram(address, len)) {
        memcpy(direct_ram + address, buf, len);
    }
}

void recorded_read(void *ctx, u64 address, void *buf, u32 len)
{
    (void)ctx;
    if (is_ram(address, len)) {
        memcpy(buf, recorded_ram + address, len);
        world.ram_reads++;
    } else if (is_shadow(address, len)) {
        memcpy(buf, shadow + (address - shadow_phys), len);
    } else {
        memset(buf, 0, len);
        world.stray_reads++;
    }
}

void recorded_write(void *ctx, u64 address, const void *buf, u32 len)
{
    (void)ctx;
    if (is_shadow(address, len)) {
        memcpy(shadow + (address - shadow_phys), buf, len);
    } else if (is_ram(address, len)) {
        world.ram_writes++;
    } else {
        world.stray_writes++;
    }
}

/* --- the engine's surroundings --- */

static int guest_read(void *ctx, u64 gpa, void *buf, u32 len)
{
    (void)ctx;
    if (!is_ram(gpa, len)) {
        return ERR_FAULT;
    }
    memcpy(buf, recorded_ram + gpa, len);
    return 0;
}

static int guest_write(void *ctx, u64 gpa, const void *buf, u32 len)
{
    (void)ctx;
    if (!is_ram(gpa, len)) {
        return ERR_FAULT;
    }
    memcpy(recorded_ram + gpa, buf, len);
    return 0;
}

static const void *guest_page(void *ctx, u64 gpa)
{
    (void)ctx;
    if (world_on_guest_page != NULL) {
        world_on_guest_page();
    }
    return is_ram(gpa, PAGE_SIZE) ? recorded_ram + gpa : NULL;
}

static void tell(struct entry entry, const void *data)
{
    if (journal_used + sizeof(entry) + entry.len > JOURNAL_SIZE) {
        return;
    }
    memcpy(journal + journal_used, &entry, sizeof(entry));
    if (entry.len != 0) {
        memcpy(journal + journal_used + sizeof(entry), data, entry.len);
    }
    journal_used += sizeof(entry) + entry.len;
}

static int sent(void *ctx, u8 stream, u8 flags, u32 length, const void *data, u32 len)
{
    (void)ctx;
    tell((struct entry){TOLD_SENT, stream, flags, 0, length, len, 0}, data);
    return 0;
}

/* Buffers that the device owns, as the engine says. */
static struct owned {
    u64 gpa;
    u32 stream, len;
} owned[MAX_OWNED];
static u32 owned_count;

static void own(void *ctx, u8 stream, u64 gpa, u32 len, bool begins)
{
    (void)ctx;
    if (begins) {
        if (owned_count == MAX_OWNED) {
            abort();
        }
        owned[owned_count++] = (struct owned){gpa, stream, len};
        return;
    }
    for (u32 i = 0; i < owned_count; i++) {
        if (owned[i].gpa == gpa && owned[i].stream == stream) {
            owned[i] = owned[--owned_count];
            return;
        }
    }
}

/* The engine says beforehand which streams a device has. */
static bool has_stream(u8 stream)
{
    u8 numbers[DMA_DEVICE_STREAMS];
    u32 count = dma_streams_of(engine.profile, numbers);

    return count == 0 || memchr(numbers, stream, count) != NULL;
}

static void emit(void *ctx, u8 stream, u64 gpa, const void *data, u32 len)
{
    (void)ctx;
    tell((struct entry){TOLD_WRITE, stream, 0, 0, len, len, gpa}, data);
    if (!is_ram(gpa, len) || len == 0 || !has_stream(stream)) {
        abort();
    }
    memcpy(replayed_ram + gpa, data, len);
    world.emitted_bytes += len;
    if (record_count < MAX_RECORDS) {
        records[record_count++] = (struct record){stream, len, gpa};
    }
}

s64 world_start(const char *profile, struct dma_env env, u64 phys, u64 size)
{
    env.guest_read = guest_read;
    env.guest_write = guest_write;
    env.guest_page = guest_page;
    env.emit = emit;
    env.sent = sent;
    env.own = own;
    owned_count = 0;
    free(shadow);
    shadow_phys = phys;
    shadow_size = size;
    shadow = malloc(shadow_size ? shadow_size : 1);
    memset(shadow, 0xa5, shadow_size);
    memset(&world, 0, sizeof(world));
    memset(direct_ram, 0, RAM_SIZE);
    memset(recorded_ram, 0, RAM_SIZE);
    memset(replayed_ram, 0, RAM_SIZE);
    record_count = 0;
    journal_used = 0;
    if (profile == NULL) {
        return dma_areas_device_init(&engine, &env, shadow, shadow_phys, shadow_size);
    }
    return dma_device_init(&engine, dma_profile_by_name(profile), &env, shadow, shadow_phys,
                           shadow_size);
}

static s64 first_difference(const u8 *a, const u8 *b)
{
    u32 i = 0;

    if (memcmp(a, b, RAM_SIZE) == 0) {
        return -1;
    }
    while (a[i] == b[i]) {
        i++;
    }
    return i;
}

static void cpu_write(u64 gpa, u32 len)
{
    memcpy(direct_ram + gpa, payload, len);
    memcpy(recorded_ram + gpa, payload, len);
    memcpy(replayed_ram + gpa, payload, len);
}

void answer(const void *data, u32 len, struct reply *reply)
{
    memcpy(payload, data, len);
    reply->payload_len = len;
}

/* What all devices have in common. */
static bool serve_common(const struct request *request, struct reply *reply)
{
    const char *text;

    switch (request->op) {
    case 'm':
        cpu_write(request->value, request->payload_len);
        break;
    case 'g':
        answer(recorded_ram + request->value, request->reg, reply);
        break;
    case 'h':
        reply->status = dma_harvest(&engine);
        dma_find_work(&engine);
        break;
    case 'o':
        reply->status = dma_outstanding(&engine);
        break;
    case 'c':
        reply->a = (u64)first_difference(direct_ram, recorded_ram);
        reply->b = (u64)first_difference(recorded_ram, replayed_ram);
        break;
    case 'l':
        answer(records, record_count * sizeof(records[0]), reply);
        record_count = 0;
        break;
    case 'j':
        answer(journal, journal_used, reply);
        journal_used = 0;
        break;
    case 'O':
        answer(owned, owned_count * sizeof(owned[0]), reply);
        break;
    case 'e':
        text = dma_take_error(&engine);
        answer(text ? text : "", text ? (u32)strlen(text) : 0, reply);
        break;
    default:
        return false;
    }
    return true;
}

static void must_read(void *buf, size_t len)
{
    if (len != 0 && fread(buf, len, 1, stdin) != 1) {
        exit(0);
    }
}

int world_serve(bool (*serve)(const struct request *request, struct reply *reply))
{
    struct request request;
    struct reply reply;

    for (;;) {
        must_read(&request, sizeof(request));
        if (request.payload_len > sizeof(payload)) {
            abort();
        }
        must_read(payload, request.payload_len);
        memset(&reply, 0, sizeof(reply));
        if (!serve_common(&request, &reply) && !serve(&request, &reply)) {
            abort();
        }
        fwrite(&reply, sizeof(reply), 1, stdout);
        fwrite(payload, reply.payload_len, 1, stdout);
        fflush(stdout);
    }
}
