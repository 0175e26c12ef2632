#include "dma_nvme.h"

#include <string.h>

#define CAP  0x00
#define VS   0x08
#define CC   0x14
#define CSTS 0x1c
#define AQA  0x24
#define ASQ  0x28
#define ACQ  0x30

#define CAP_CMBS       (1U << 25)
#define CMBSZ          0x3c
#define DOORBELLS      0x1000
#define ENTRY_SIZES    0xff0000
#define ENTRIES_NORMAL 0x460000

enum {
    SUCCESS = 0,
    INVALID_OPCODE = 0x01,
    INVALID_FIELD = 0x02,
    INVALID_NAMESPACE = 0x0b,
    INVALID_PAGE = 0x13,
    COMPLETION_INVALID = 0x100,
    QUEUE_INVALID = 0x101,
    SIZE_INVALID = 0x102,
    DELETION_INVALID = 0x10c,
};

struct reply {
    u32 result, status;
};

void nvme_init(struct nvme *nvme, const struct nvme_bus *bus, u32 stride)
{
    memset(nvme, 0, sizeof(*nvme));
    nvme->bus = *bus;
    nvme->stride = stride;
}

void nvme_set_data(struct nvme *nvme, const void *data, u32 len)
{
    memcpy(nvme->data, data, len < NVME_TRANSFER_MAX ? len : NVME_TRANSFER_MAX);
}

static u32 get32(const u8 *at)
{
    u32 value;

    memcpy(&value, at, 4);
    return value;
}

static u64 get64(const u8 *at)
{
    u64 value;

    memcpy(&value, at, 8);
    return value;
}

static u32 get16(const u8 *at)
{
    return at[0] | (u32)at[1] << 8;
}

/* --- registers --- */

u32 nvme_read_register(const struct nvme *nvme, u32 reg)
{
    switch (reg & ~3U) {
    case CAP:
        return NVME_ENTRIES_MAX - 1;
    case CAP + 4:
        return nvme->stride | CAP_CMBS;
    case VS:
        return 0x20000;
    case CC:
        return nvme->configuration;
    case CSTS:
        return nvme->status;
    case AQA:
        return nvme->admin_attributes;
    case ASQ:
        return (u32)nvme->admin_submission;
    case ASQ + 4:
        return (u32)(nvme->admin_submission >> 32);
    case ACQ:
        return (u32)nvme->admin_completion;
    case ACQ + 4:
        return (u32)(nvme->admin_completion >> 32);
    case CMBSZ:
        return 0x1001;
    default:
        return 0;
    }
}

static void set_half(u64 *address, bool high, u32 value)
{
    *address =
        high ? (*address & 0xffffffff) | (u64)value << 32 : (*address & ~0xffffffffULL) | value;
}

static void enable(struct nvme *nvme)
{
    u64 page = ~0xfffULL;

    nvme->submissions[0] = (struct nvme_queue){
        .live = true,
        .base = nvme->admin_submission & page,
        .count = (nvme->admin_attributes & 0xfff) + 1,
    };
    nvme->completions[0] = (struct nvme_queue){
        .live = true,
        .base = nvme->admin_completion & page,
        .count = (nvme->admin_attributes >> 16 & 0xfff) + 1,
        .phase = true,
    };
}

static void configure(struct nvme *nvme, u32 value)
{
    if (!(nvme->configuration & 1) && (value & 1)) {
        enable(nvme);
    } else if ((nvme->configuration & 1) && !(value & 1)) {
        memset(nvme->submissions, 0, sizeof(nvme->submissions));
        memset(nvme->completions, 0, sizeof(nvme->completions));
        nvme->fetched_count = 0;
    }
    nvme->configuration = value;
    nvme->status = value & 1;
}

static void fetch(struct nvme *nvme, u32 queue)
{
    struct nvme_queue *s = &nvme->submissions[queue];

    while (s->head != s->tail && nvme->fetched_count < NVME_FETCHED) {
        struct nvme_fetched *f = &nvme->fetched[nvme->fetched_count++];

        f->queue = queue;
        nvme->bus.read(nvme->bus.ctx, s->base + (u64)s->head * 64, f->command, 64);
        s->head = (s->head + 1) % s->count;
    }
}

static void ring(struct nvme *nvme, u32 offset, u32 value)
{
    u32 doorbell = offset / (4U << nvme->stride), queue = doorbell / 2;
    bool is_submission = doorbell % 2 == 0;
    struct nvme_queue *q;

    if (offset % (4U << nvme->stride) != 0 || queue >= NVME_QUEUES) {
        return;
    }
    q = is_submission ? &nvme->submissions[queue] : &nvme->completions[queue];
    if (!q->live || value >= q->count) {
        return;
    }
    if (is_submission) {
        q->tail = value;
        fetch(nvme, queue);
    } else {
        q->head = value;
    }
}

void nvme_write_register(struct nvme *nvme, u32 reg, u32 value)
{
    bool enabled = (nvme->configuration & 1) != 0;

    if (reg == CC) {
        configure(nvme, value);
    } else if (reg >= DOORBELLS) {
        ring(nvme, reg - DOORBELLS, value);
    } else if (reg == AQA && !enabled) {
        nvme->admin_attributes = value;
    } else if ((reg == ASQ || reg == ASQ + 4) && !enabled) {
        set_half(&nvme->admin_submission, reg != ASQ, value);
    } else if ((reg == ACQ || reg == ACQ + 4) && !enabled) {
        set_half(&nvme->admin_completion, reg != ACQ, value);
    }
}

/* --- data --- */

static void move(struct nvme *nvme, u64 address, u8 *data, u32 len, bool to_memory)
{
    if (to_memory) {
        nvme->bus.write(nvme->bus.ctx, address, data, len);
        return;
    }
    nvme->bus.read(nvme->bus.ctx, address, data, len);
    for (u32 i = 0; i < len; i++) {
        nvme->digest = (nvme->digest ^ data[i]) * 0x100000001b3ULL;
    }
}

/* Moves `len` bytes between `data` and the command's pages. */
static u32 transfer(struct nvme *nvme, const u8 *command, u8 *data, u32 len, bool to_memory)
{
    u64 first = get64(command + 24), second = get64(command + 32), list = second;
    u32 part = 4096 - (u32)(first & 0xfff), done;
    u8 entry[8];

    if (len == 0) {
        return SUCCESS;
    }
    part = part < len ? part : len;
    if (first & 3) {
        return INVALID_PAGE;
    }
    move(nvme, first, data, part, to_memory);
    done = part;
    if (len - done <= 4096) {
        if (done < len && (second & 0xfff)) {
            return INVALID_PAGE;
        }
        move(nvme, second, data + done, len - done, to_memory);
        return SUCCESS;
    }
    if (list & 7) {
        return INVALID_PAGE;
    }
    while (done < len) {
        nvme->bus.read(nvme->bus.ctx, list, entry, 8);
        if ((list & 0xfff) == 0xff8 && len - done > 4096) {
            list = get64(entry) & ~7ULL;
            nvme->bus.read(nvme->bus.ctx, list, entry, 8);
        }
        if (get64(entry) & 0xfff) {
            return INVALID_PAGE;
        }
        part = len - done < 4096 ? len - done : 4096;
        move(nvme, get64(entry), data + done, part, to_memory);
        done += part;
        list += 8;
    }
    return SUCCESS;
}

static u32 give(struct nvme *nvme, const u8 *command, u32 len)
{
    return transfer(nvme, command, nvme->data, len, true);
}

static u32 take(struct nvme *nvme, const u8 *command, u32 len)
{
    static u8 taken[NVME_TRANSFER_MAX];

    return transfer(nvme, command, taken, len, false);
}

/* --- admin commands --- */

static u32 create_completions(struct nvme *nvme, const u8 *command)
{
    u32 queue = get16(command + 40), count = get16(command + 42) + 1;

    if (queue == 0 || queue >= NVME_QUEUES || nvme->completions[queue].live) {
        return QUEUE_INVALID;
    }
    if (count < 2 || count > NVME_ENTRIES_MAX) {
        return SIZE_INVALID;
    }
    if (!(command[44] & 1) || (nvme->configuration & ENTRY_SIZES) != ENTRIES_NORMAL) {
        return INVALID_FIELD;
    }
    nvme->completions[queue] = (struct nvme_queue){
        .live = true,
        .base = get64(command + 24) & ~0xfffULL,
        .count = count,
        .phase = true,
    };
    return SUCCESS;
}

static u32 create_submissions(struct nvme *nvme, const u8 *command)
{
    u32 queue = get16(command + 40), count = get16(command + 42) + 1;
    u32 completion = get16(command + 46);

    if (completion == 0 || completion >= NVME_QUEUES || !nvme->completions[completion].live) {
        return COMPLETION_INVALID;
    }
    if (queue == 0 || queue >= NVME_QUEUES || nvme->submissions[queue].live) {
        return QUEUE_INVALID;
    }
    if (count < 2 || count > NVME_ENTRIES_MAX) {
        return SIZE_INVALID;
    }
    if (!(command[44] & 1) || (nvme->configuration & ENTRY_SIZES) != ENTRIES_NORMAL) {
        return INVALID_FIELD;
    }
    nvme->submissions[queue] = (struct nvme_queue){
        .live = true,
        .base = get64(command + 24) & ~0xfffULL,
        .count = count,
        .completion = completion,
    };
    return SUCCESS;
}

static u32 delete_submissions(struct nvme *nvme, const u8 *command)
{
    u32 queue = get16(command + 40);

    if (queue == 0 || queue >= NVME_QUEUES || !nvme->submissions[queue].live) {
        return QUEUE_INVALID;
    }
    nvme->submissions[queue].live = false;
    for (u32 i = 0; i < nvme->fetched_count; i++) {
        if (nvme->fetched[i].queue == queue) {
            nvme->fetched[i].queue = NVME_QUEUES;
        }
    }
    return SUCCESS;
}

static u32 delete_completions(struct nvme *nvme, const u8 *command)
{
    u32 queue = get16(command + 40);

    if (queue == 0 || queue >= NVME_QUEUES || !nvme->completions[queue].live) {
        return QUEUE_INVALID;
    }
    for (u32 i = 1; i < NVME_QUEUES; i++) {
        if (nvme->submissions[i].live && nvme->submissions[i].completion == queue) {
            return DELETION_INVALID;
        }
    }
    nvme->completions[queue].live = false;
    return SUCCESS;
}

static u32 block_of(u32 id)
{
    return id == 1 ? 512 : id == 2 ? 4096 : 0;
}

static u32 identify(struct nvme *nvme, const u8 *command)
{
    static u8 data[4096];
    u32 id = get32(command + 4);

    memset(data, 0, sizeof(data));
    if (command[40] == 1) {
        memcpy(data + 4, "MODEL", 5);
        memset(data + 256, 0xff, 2);
        memset(data + 272, 0x11, 8);
        data[520] = 0x5f;
        data[522] = 1;
        memset(data + 536, 0x07, 4);
    } else if (command[40] == 0 && id == 3) {
        data[128] = 8; /* metadata */
        data[130] = 9;
    } else if (command[40] == 0 && block_of(id) != 0) {
        data[26] = id == 2;
        data[130] = 9;
        data[134] = 12;
    } else {
        return command[40] == 0 ? INVALID_NAMESPACE : INVALID_FIELD;
    }
    return transfer(nvme, command, data, sizeof(data), true);
}

static struct reply set_features(struct nvme *nvme, const u8 *command)
{
    switch (command[40]) {
    case 0x07:
        return (struct reply){0x000f000f, SUCCESS};
    case 0x0d: /* the host memory buffer, used at once */
        nvme->bus.write(nvme->bus.ctx, get64(command + 24), nvme->data, 64);
        return (struct reply){0, SUCCESS};
    case 0x0e:
        return (struct reply){0, take(nvme, command, 8)};
    default:
        return (struct reply){0, SUCCESS};
    }
}

static struct reply run_admin(struct nvme *nvme, const u8 *command)
{
    switch (command[0]) {
    case 0x00:
        return (struct reply){0, delete_submissions(nvme, command)};
    case 0x01:
        return (struct reply){0, create_submissions(nvme, command)};
    case 0x02:
        return (struct reply){0, give(nvme, command, (get32(command + 42) + 1) * 4)};
    case 0x04:
        return (struct reply){0, delete_completions(nvme, command)};
    case 0x05:
        return (struct reply){0, create_completions(nvme, command)};
    case 0x06:
        return (struct reply){0, identify(nvme, command)};
    case 0x08:
        return (struct reply){1, SUCCESS};
    case 0x09:
        return set_features(nvme, command);
    case 0x0a:
        return (struct reply){command[40] == 7 ? 0x000f000f : 0,
                              command[40] == 0x0e ? give(nvme, command, 8) : SUCCESS};
    case 0x0c:
        return (struct reply){0x00010002, SUCCESS};
    case 0x7c: /* Doorbell Buffer Config: writes to the guest's memory from then on */
        nvme->bus.write(nvme->bus.ctx, get64(command + 32), nvme->data, 64);
        return (struct reply){0, SUCCESS};
    default:
        return (struct reply){0, INVALID_OPCODE};
    }
}

static u32 run_io(struct nvme *nvme, const u8 *command)
{
    u32 block = block_of(get32(command + 4)), len = (get16(command + 48) + 1) * block;

    if (command[0] == 0x09) {
        return take(nvme, command, (command[40] + 1U) * 16);
    }
    if (block == 0) {
        return INVALID_NAMESPACE;
    }
    if (len > NVME_TRANSFER_MAX) {
        return INVALID_FIELD;
    }
    switch (command[0]) {
    case 0x00:
    case 0x08:
        return SUCCESS;
    case 0x01:
    case 0x05:
        return take(nvme, command, len);
    case 0x02:
        return give(nvme, command, len);
    default:
        return INVALID_OPCODE;
    }
}

/* --- completions --- */

static bool has_room(const struct nvme_queue *c)
{
    return c->live && (c->tail + 1) % c->count != c->head;
}

static void post(struct nvme *nvme, struct nvme_queue *c, u32 queue, u32 head, const u8 *command,
                 struct reply reply)
{
    u32 entry[4] = {
        reply.result,
        0,
        head | queue << 16,
        get16(command + 2) | reply.status << 17 | (u32)c->phase << 16,
    };

    nvme->bus.write(nvme->bus.ctx, c->base + (u64)c->tail * 16, entry, sizeof(entry));
    c->tail = (c->tail + 1) % c->count;
    c->phase ^= c->tail == 0;
}

bool nvme_run(struct nvme *nvme, u32 queue, u32 id)
{
    struct nvme_queue *s = &nvme->submissions[queue % NVME_QUEUES], *c;
    struct nvme_fetched f;
    struct reply reply = {0, 0};
    u32 at = 0;

    queue %= NVME_QUEUES;
    while (at < nvme->fetched_count &&
           (nvme->fetched[at].queue != queue || get16(nvme->fetched[at].command + 2) != id)) {
        at++;
    }
    c = &nvme->completions[s->completion];
    if (at == nvme->fetched_count || !has_room(c)) {
        return false;
    }
    f = nvme->fetched[at];
    nvme->fetched_count--;
    memmove(&nvme->fetched[at], &nvme->fetched[at + 1],
            (nvme->fetched_count - at) * sizeof(nvme->fetched[0]));
    if (f.command[1] & 0xc0) {
        reply.status = INVALID_FIELD;
    } else if (queue == 0) {
        reply = run_admin(nvme, f.command);
    } else {
        reply.status = run_io(nvme, f.command);
    }
    post(nvme, c, queue, s->head, f.command, reply);
    return true;
}
