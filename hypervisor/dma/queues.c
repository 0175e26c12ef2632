#include "dma/queues.h"
#include "dma/buffers.h"
#include "dma/guest.h"
#include "lib/string.h"

#define DOORBELL_SUBMISSION(queue) (2 * (queue))
#define DOORBELL_COMPLETION(queue) (2 * (queue) + 1)
#define ADMIN                      0

/* --- the shadow area: a page for each queue, the scratch page, then buffers for commands --- */

#define QUEUES_ROOM ((2 * DMA_MAX_QUEUES + 1) * PAGE_SIZE)

_Static_assert(DMA_QUEUE_ENTRIES *DMA_COMMAND_SIZE <= PAGE_SIZE, "a shadow queue has one page");

static u64 command_room(const struct dma_queues_profile *profile)
{
    return ALIGN_UP(dma_buffers_minimum(&profile->pages), PAGE_SIZE) +
           2 * ALIGN_UP(profile->max_transfer, PAGE_SIZE);
}

u64 dma_queues_minimum(const struct dma_profile *profile)
{
    return profile->queues != NULL ? QUEUES_ROOM + command_room(profile->queues) : 0;
}

void dma_queues_init(struct dma_device *device, u8 *memory, u64 phys, u64 size)
{
    struct dma_queues *queues = &device->queues;
    u64 at = 0;

    queues->profile = device->profile->queues;
    if (queues->profile == NULL)
        return;
    for (u32 i = 0; i < DMA_MAX_QUEUES; i++) {
        queues->submissions[i].entries = memory + at;
        queues->submissions[i].phys = phys + at;
        at += PAGE_SIZE;
        queues->completions[i].entries = memory + at;
        queues->completions[i].phys = phys + at;
        at += PAGE_SIZE;
    }
    queues->scratch_phys = phys + at;
    at += PAGE_SIZE;
    dma_commands_init(device, &queues->profile->pages, memory + at, phys + at, size - at,
                      command_room(queues->profile));
}

/* --- queues begin and end --- */

u32 dma_queue_entries(const struct dma_queues *queues, u32 guest_count)
{
    /* The device is to refuse what is too long for it. */
    if (guest_count <= DMA_QUEUE_ENTRIES || guest_count > queues->entries_max)
        return guest_count;
    return DMA_QUEUE_ENTRIES;
}

void dma_submission_begin(struct dma_queues *queues, u32 queue, u64 guest_base, u32 guest_count,
                          u32 completion)
{
    struct dma_submission *s = &queues->submissions[queue];

    s->live = true;
    s->completion = completion;
    s->guest_base = guest_base;
    s->guest_count = guest_count;
    s->count = dma_queue_entries(queues, guest_count);
    s->guest_head = s->guest_tail = 0;
    s->tail = s->in_flight = 0;
}

void dma_completion_begin(struct dma_queues *queues, u32 queue, u64 guest_base, u32 guest_count)
{
    struct dma_completion *c = &queues->completions[queue];

    c->live = true;
    c->guest_base = guest_base;
    c->guest_count = guest_count;
    c->count = dma_queue_entries(queues, guest_count);
    c->guest_head = c->guest_tail = 0;
    c->head = c->in_flight = 0;
    c->phase = c->guest_phase = true;
}

static void release(struct dma_device *device, struct dma_in_flight *flight)
{
    struct dma_submission *s = &device->queues.submissions[flight->queue];

    if (flight->buffers != NULL) {
        dma_buffers_own(device, flight->buffers, DMA_STREAM_PAYLOAD(flight->queue, 0), false);
        dma_commands_give_back(device, flight->buffers);
    }
    s->in_flight--;
    device->queues.completions[s->completion].in_flight--;
    flight->used = false;
}

static void take_data(struct dma_device *device, const struct dma_in_flight *flight)
{
    if (flight->buffers != NULL)
        device->stats.rx_bytes +=
            dma_buffers_harvest(device, flight->buffers, DMA_STREAM_PAYLOAD(flight->queue, 0));
}

static void drop_commands(struct dma_device *device, u32 queue)
{
    for (u32 i = 0; i < DMA_MAX_IN_FLIGHT; i++) {
        struct dma_in_flight *flight = &device->queues.in_flight[i];

        if (flight->used && flight->queue == queue) {
            take_data(device, flight);
            release(device, flight);
        }
    }
}

static int harvest_completions(struct dma_device *device, u32 queue);

void dma_submission_end(struct dma_device *device, u32 queue)
{
    struct dma_submission *s = &device->queues.submissions[queue];

    if (!s->live)
        return;
    harvest_completions(device, s->completion);
    drop_commands(device, queue);
    s->live = false;
}

void dma_completion_end(struct dma_device *device, u32 queue)
{
    struct dma_queues *queues = &device->queues;

    harvest_completions(device, queue);
    for (u32 i = 0; i < DMA_MAX_QUEUES; i++)
        if (queues->submissions[i].live && queues->submissions[i].completion == queue) {
            drop_commands(device, i);
            queues->submissions[i].live = false;
        }
    queues->completions[queue].live = false;
}

void dma_queues_stop(struct dma_device *device)
{
    for (u32 i = 0; i < DMA_MAX_QUEUES; i++) {
        drop_commands(device, i);
        device->queues.submissions[i].live = false;
        device->queues.completions[i].live = false;
    }
    memset(device->queues.namespaces, 0, sizeof(device->queues.namespaces));
    device->queues.enabled = false;
}

bool dma_queues_busy(const struct dma_device *device)
{
    for (u32 i = 0; i < DMA_MAX_QUEUES; i++)
        if (device->queues.submissions[i].in_flight != 0)
            return true;
    return false;
}

/* --- from the guest to the device --- */

static void ring(struct dma_device *device, u32 doorbell, u32 value)
{
    const struct dma_queues *queues = &device->queues;

    dma_write_register(device, queues->profile->doorbells + doorbell * queues->stride, 4, value);
}

static struct dma_in_flight *free_in_flight(struct dma_queues *queues)
{
    for (u32 i = 0; i < DMA_MAX_IN_FLIGHT; i++)
        if (!queues->in_flight[i].used)
            return &queues->in_flight[i];
    return NULL;
}

/* Gives the device the guest's next command; false: there is none, or it has to wait. */
static bool give_one(struct dma_device *device, u32 queue)
{
    struct dma_queues *queues = &device->queues;
    struct dma_submission *s = &queues->submissions[queue];
    struct dma_completion *c = &queues->completions[s->completion];
    struct dma_in_flight *flight = free_in_flight(queues);
    u64 gpa = s->guest_base + (u64)s->guest_head * DMA_COMMAND_SIZE;
    u8 *entry = s->entries + (u64)s->tail * DMA_COMMAND_SIZE;

    if (!c->live || s->guest_head == s->guest_tail || flight == NULL ||
        s->in_flight + 1 >= s->count || c->in_flight + 1 >= c->count)
        return false;
    if (dma_read_guest(device, gpa, flight->command, DMA_COMMAND_SIZE) < 0)
        memset(flight->command, 0, DMA_COMMAND_SIZE);
    flight->queue = queue;
    flight->buffers = NULL;
    if (!dma_queue_prepare(device, flight, entry))
        return false;
    flight->used = true;
    s->in_flight++;
    c->in_flight++;
    s->tail = (s->tail + 1) % s->count;
    s->guest_head = (s->guest_head + 1) % s->guest_count;
    return true;
}

/* Gives the device what waits, each time beginning with another queue. */
static void give(struct dma_device *device)
{
    struct dma_queues *queues = &device->queues;

    for (u32 i = 0; i < DMA_MAX_QUEUES; i++) {
        u32 queue = (queues->turn + i) % DMA_MAX_QUEUES;
        struct dma_submission *s = &queues->submissions[queue];
        u32 before = s->tail;

        while (s->live && give_one(device, queue))
            ;
        if (s->live && s->tail != before)
            ring(device, DOORBELL_SUBMISSION(queue), s->tail);
    }
    queues->turn = (queues->turn + 1) % DMA_MAX_QUEUES;
}

/* --- from the device to the guest --- */

static struct dma_in_flight *find(struct dma_queues *queues, u32 queue, u32 id, u32 completion)
{
    for (u32 i = 0; i < DMA_MAX_IN_FLIGHT; i++) {
        struct dma_in_flight *flight = &queues->in_flight[i];

        if (flight->used && flight->queue == queue &&
            dma_get_field(flight->command, QUEUE_COMMAND_ID) == id &&
            queues->submissions[queue].completion == completion)
            return flight;
    }
    return NULL;
}

/* The data first, then the entry that tells of it. */
static void complete(struct dma_device *device, u32 queue, struct dma_in_flight *flight, u8 *entry)
{
    struct dma_completion *c = &device->queues.completions[queue];
    u64 status = dma_get_field(entry, QUEUE_COMPLETION_STATUS) & ~1ULL;

    dma_queue_reply(device, flight, entry);
    take_data(device, flight);
    dma_put_field(entry, QUEUE_COMPLETION_HEAD,
                  device->queues.submissions[flight->queue].guest_head);
    dma_put_field(entry, QUEUE_COMPLETION_STATUS, status | c->guest_phase);
    dma_write_guest(device, DMA_STREAM_DESCRIPTORS(queue),
                    c->guest_base + (u64)c->guest_tail * QUEUE_COMPLETION_SIZE, entry,
                    QUEUE_COMPLETION_SIZE);
    c->guest_tail = (c->guest_tail + 1) % c->guest_count;
    c->guest_phase ^= c->guest_tail == 0;
    release(device, flight);
    device->stats.completed++;
}

static bool is_new(const struct dma_completion *c)
{
    const u8 *status =
        c->entries + (u64)c->head * QUEUE_COMPLETION_SIZE + QUEUE_COMPLETION_STATUS.offset;

    return (__atomic_load_n(status, __ATOMIC_ACQUIRE) & 1) == c->phase;
}

static bool guest_has_room(const struct dma_completion *c)
{
    return (c->guest_tail + 1) % c->guest_count != c->guest_head;
}

static int harvest_completions(struct dma_device *device, u32 queue)
{
    struct dma_queues *queues = &device->queues;
    struct dma_completion *c = &queues->completions[queue];
    u8 entry[QUEUE_COMPLETION_SIZE];
    u32 before = c->head;
    int completed = 0;

    while (c->live && is_new(c) && guest_has_room(c)) {
        struct dma_in_flight *flight;
        u32 from, id;

        memcpy(entry, c->entries + (u64)c->head * sizeof(entry), sizeof(entry));
        c->head = (c->head + 1) % c->count;
        c->phase ^= c->head == 0;
        from = (u32)dma_get_field(entry, QUEUE_COMPLETION_QUEUE);
        id = (u32)dma_get_field(entry, QUEUE_COMPLETION_ID);
        flight = from < DMA_MAX_QUEUES ? find(queues, from, id, queue) : NULL;
        if (flight != NULL) {
            complete(device, queue, flight, entry);
            completed++;
        }
    }
    if (c->head != before)
        ring(device, DOORBELL_COMPLETION(queue), c->head);
    return completed;
}

int dma_queues_harvest(struct dma_device *device)
{
    int completed = 0;

    if (!device->queues.enabled)
        return 0;
    for (u32 queue = DMA_MAX_QUEUES; queue-- > ADMIN;)
        completed += harvest_completions(device, queue);
    give(device);
    return completed;
}
