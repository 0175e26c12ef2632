/* What the device's replies mean for the queues and for what the guest may see. */
#include "dma/guest.h"
#include "dma/queue_opcodes.h"
#include "dma/queues.h"

#define IDENTIFY_NAMESPACE  0x00
#define IDENTIFY_CONTROLLER 0x01

/* MDTS: the most pages of a command, as a power of two; 0: no limit. */
#define CONTROLLER_TRANSFER 77

#define NAMESPACE_FORMAT       26 /* FLBAS */
#define NAMESPACE_FORMATS      128
#define NAMESPACE_FORMATS_STEP 4
#define NAMESPACE_ALL          0xffffffff

#define NUMBER_OF_QUEUES  0x07 /* a feature */
#define FEATURE_SUPPORTED 3    /* asked for: what can be changed, not the value */

static void created(struct dma_device *device, const u8 *command)
{
    struct dma_queues *queues = &device->queues;
    u32 queue = (u32)dma_get_field(command, QUEUE_ID);
    u32 count = (u32)dma_get_field(command, QUEUE_SIZE) + 1;
    u32 completion = (u32)dma_get_field(command, QUEUE_COMPLETION);
    u64 base = dma_get_field(command, QUEUE_COMMAND_PAGE1) & ~PAGE_MASK;

    if (dma_queue_entries(queues, count) > DMA_QUEUE_ENTRIES) {
        dma_note_error(device, "the device takes queues that are longer than it says");
    } else if (command[QUEUE_COMMAND_OPCODE] == CREATE_COMPLETION) {
        dma_completion_end(device, queue);
        dma_completion_begin(queues, queue, base, count);
    } else if (completion < DMA_MAX_QUEUES && queues->completions[completion].live) {
        dma_submission_end(device, queue);
        dma_submission_begin(queues, queue, base, count, completion);
    }
}

static void take_queue_change(struct dma_device *device, const u8 *command)
{
    u32 queue = (u32)dma_get_field(command, QUEUE_ID);

    if (queue == 0 || queue >= DMA_MAX_QUEUES)
        return;
    if (dma_queue_creates(command))
        created(device, command);
    else if (command[QUEUE_COMMAND_OPCODE] == DELETE_SUBMISSION)
        dma_submission_end(device, queue);
    else
        dma_completion_end(device, queue);
}

static void learn_namespace(struct dma_queues *queues, const u8 *command, const u8 *data)
{
    u32 id = (u32)dma_get_field(command, QUEUE_COMMAND_NAMESPACE);
    u8 flags = data[NAMESPACE_FORMAT];
    /* Bits 6:5 are the higher ones of the number, where there are so many formats. */
    u32 format = (flags & 0xfU) | (flags >> 1 & 0x30U);
    const u8 *entry = data + NAMESPACE_FORMATS + NAMESPACE_FORMATS_STEP * format;
    u32 metadata = (u32)dma_get_field(entry, (struct dma_field){0, 2});
    struct dma_namespace *of;

    if (id == 0 || id == NAMESPACE_ALL)
        return;
    of = dma_queue_namespace(queues, id);
    if (of == NULL) {
        of = &queues->namespaces[queues->next_namespace];
        queues->next_namespace = (queues->next_namespace + 1) % DMA_MAX_NAMESPACES;
    }
    *of = (struct dma_namespace){
        .id = id,
        .block = metadata == 0 && entry[2] >= 9 && entry[2] < 32 ? 1U << entry[2] : 0,
    };
}

static void limit_transfer(const struct dma_queues_profile *profile, u8 *data)
{
    u8 limit = 0;

    while (PAGE_SIZE << (limit + 1) <= profile->max_transfer)
        limit++;
    if (data[CONTROLLER_TRANSFER] == 0 || data[CONTROLLER_TRANSFER] > limit)
        data[CONTROLLER_TRANSFER] = limit;
}

static void take_identified(struct dma_queues *queues, const u8 *command, u8 *data)
{
    const struct dma_queues_profile *profile = queues->profile;

    for (u32 i = 0; i < profile->cleared_count; i++)
        if (dma_queue_matches(profile->cleared[i].command, command)) {
            struct dma_field word = {0, 4};
            u8 *at = data + profile->cleared[i].offset;

            dma_put_field(at, word, dma_get_field(at, word) & ~(u64)profile->cleared[i].mask);
        }
    if (command[QUEUE_COMMAND_SELECTED] == IDENTIFY_CONTROLLER)
        limit_transfer(profile, data);
    if (command[QUEUE_COMMAND_SELECTED] == IDENTIFY_NAMESPACE)
        learn_namespace(queues, command, data);
}

/* As many queues as the engine has: both numbers are less 1, and without the admin queue. */
static void limit_queues(const u8 *command, u8 *completion)
{
    u32 numbers = (u32)dma_get_field(completion, QUEUE_COMPLETION_RESULT);
    u32 submissions = numbers & 0xffff, completions = numbers >> 16, most = DMA_MAX_QUEUES - 2;

    if (command[QUEUE_COMMAND_OPCODE] == GET_FEATURES &&
        (command[QUEUE_COMMAND_SELECTED + 1] & 7) == FEATURE_SUPPORTED)
        return;
    submissions = submissions < most ? submissions : most;
    completions = completions < most ? completions : most;
    dma_put_field(completion, QUEUE_COMPLETION_RESULT, submissions | completions << 16);
}

void dma_queue_reply(struct dma_device *device, const struct dma_in_flight *flight, u8 *completion)
{
    const u8 *command = flight->command;
    /* The code and its type. */
    bool succeeded = (dma_get_field(completion, QUEUE_COMPLETION_STATUS) >> 1 & 0x7ff) == 0;

    if (flight->queue != 0 || !succeeded)
        return;
    if (dma_queue_is_about_queues(command))
        take_queue_change(device, command);
    else if (command[QUEUE_COMMAND_OPCODE] == IDENTIFY && flight->buffers != NULL)
        take_identified(&device->queues, command,
                        flight->buffers->image + flight->buffers->segments[0].offset);
    else if ((command[QUEUE_COMMAND_OPCODE] == SET_FEATURES ||
              command[QUEUE_COMMAND_OPCODE] == GET_FEATURES) &&
             command[QUEUE_COMMAND_SELECTED] == NUMBER_OF_QUEUES)
        limit_queues(command, completion);
}
