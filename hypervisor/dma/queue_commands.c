/* Commands on their way to the device: how much data they transfer, and what takes the place of the
 * guest's addresses. */
#include "dma/buffers.h"
#include "dma/guest.h"
#include "dma/queue_opcodes.h"
#include "dma/queues.h"
#include "lib/string.h"

/* Section 3.3.1, "Fabrics Commands": no opcode of a device on PCI. */
#define NO_OPCODE 0x7f
#define NO_PAGES  0xc0 /* of the flags */

#define ENTRY_SHIFTS      0xff0000 /* of the configuration: the sizes of entries */
#define ENTRY_SHIFTS_USED 0x460000

static void put_scratch(const struct dma_queues *queues, u8 *entry)
{
    dma_put_field(entry, QUEUE_COMMAND_METADATA, queues->scratch_phys);
    dma_put_field(entry, QUEUE_COMMAND_PAGE1, queues->scratch_phys);
    dma_put_field(entry, QUEUE_COMMAND_PAGE2, queues->scratch_phys);
}

/* The device itself says that it cannot carry it out. */
static void spoil(struct dma_device *device, u8 *entry)
{
    entry[QUEUE_COMMAND_OPCODE] = NO_OPCODE;
    entry[QUEUE_COMMAND_FLAGS] &= (u8)~NO_PAGES;
    device->stats.refused_writes++;
}

static const struct dma_command_profile *find_command(const struct dma_queues_profile *profile,
                                                      bool is_admin, const u8 *command)
{
    const struct dma_command_profile *commands = is_admin ? profile->admin : profile->io;
    u32 count = is_admin ? profile->admin_count : profile->io_count;

    for (u32 i = 0; is_admin && i < profile->refused_count; i++)
        if (dma_queue_matches(profile->refused[i], command))
            return NULL;
    for (u32 i = 0; i < count; i++)
        if (commands[i].opcode == command[QUEUE_COMMAND_OPCODE])
            return &commands[i];
    return NULL;
}

/* Bytes that the command transfers; false: that is not known. */
static bool find_length(struct dma_device *device, const struct dma_command_profile *profile,
                        const u8 *command, u64 *length)
{
    u32 unit = profile->unit;

    if (unit == 0) {
        u32 id = (u32)dma_get_field(command, QUEUE_COMMAND_NAMESPACE);
        const struct dma_namespace *of = id != 0 ? dma_queue_namespace(&device->queues, id) : NULL;

        if (of == NULL || of->block == 0) {
            dma_note_error(device, "a command of a namespace that the guest's driver has not "
                                   "identified, or whose blocks have metadata");
            return false;
        }
        unit = of->block;
    }
    *length = (dma_get_field(command, profile->count) + profile->add) * unit;
    return true;
}

/* The shadow of a queue that is to be created takes its place. */
static void prepare_create(struct dma_device *device, u8 *entry)
{
    struct dma_queues *queues = &device->queues;
    bool is_completion = entry[QUEUE_COMMAND_OPCODE] == CREATE_COMPLETION;
    u32 queue = (u32)dma_get_field(entry, QUEUE_ID);
    u32 count = (u32)dma_get_field(entry, QUEUE_SIZE) + 1;

    if (!(entry[QUEUE_FLAGS] & QUEUE_CONTIGUOUS)) {
        spoil(device, entry);
        return;
    }
    if ((queues->configuration & ENTRY_SHIFTS) != ENTRY_SHIFTS_USED) {
        dma_note_error(device, "the guest's driver wants entries of queues that have another size "
                               "than 64 and 16 bytes");
        spoil(device, entry);
        return;
    }
    if (queue >= DMA_MAX_QUEUES) {
        /* The device says that there is no such queue. */
        dma_put_field(entry, QUEUE_ID, 0);
        return;
    }
    dma_put_field(entry, QUEUE_SIZE, dma_queue_entries(queues, count) - 1);
    if (is_completion && !queues->completions[queue].live)
        memset(queues->completions[queue].entries, 0, PAGE_SIZE);
    dma_put_field(entry, QUEUE_COMMAND_PAGE1,
                  is_completion ? queues->completions[queue].phys
                                : queues->submissions[queue].phys);
}

/* Formats may be others after this. */
static void forget_formats(struct dma_queues *queues, const u8 *command)
{
    if (command[QUEUE_COMMAND_OPCODE] == FORMAT ||
        command[QUEUE_COMMAND_OPCODE] == NAMESPACE_MANAGEMENT)
        memset(queues->namespaces, 0, sizeof(queues->namespaces));
}

/* Shadow buffers for the data; false: there are none now. */
static bool map_data(struct dma_device *device, struct dma_in_flight *flight, u8 *entry, u64 length)
{
    bool to_memory = (flight->command[QUEUE_COMMAND_OPCODE] & 2) != 0;

    if (length > device->queues.profile->max_transfer) {
        dma_note_error(device, "a command transfers more than the device offers while recording");
        spoil(device, entry);
        return true;
    }
    flight->buffers = dma_commands_take(device);
    if (flight->buffers == NULL)
        return false;
    dma_put_field(entry, QUEUE_COMMAND_PAGE1, dma_get_field(flight->command, QUEUE_COMMAND_PAGE1));
    dma_put_field(entry, QUEUE_COMMAND_PAGE2, dma_get_field(flight->command, QUEUE_COMMAND_PAGE2));
    dma_pages_map(device, flight->buffers, entry, (u32)length, to_memory);
    dma_buffers_own(device, flight->buffers, DMA_STREAM_PAYLOAD(flight->queue, 0), true);
    device->stats.tx_bytes += to_memory ? 0 : length;
    return true;
}

bool dma_queue_prepare(struct dma_device *device, struct dma_in_flight *flight, u8 *entry)
{
    struct dma_queues *queues = &device->queues;
    const u8 *command = flight->command;
    bool is_admin = flight->queue == 0;
    const struct dma_command_profile *profile = find_command(queues->profile, is_admin, command);
    u64 length = 0;

    memcpy(entry, command, DMA_COMMAND_SIZE);
    put_scratch(queues, entry);
    if (command[QUEUE_COMMAND_FLAGS] & NO_PAGES) {
        dma_note_error(device, "a command describes its data by a scatter-gather list, which the "
                               "device does not offer while recording");
        spoil(device, entry);
        return true;
    }
    if (is_admin && dma_queue_is_about_queues(command)) {
        if (dma_queue_creates(command))
            prepare_create(device, entry);
        return true;
    }
    if (profile == NULL || !find_length(device, profile, command, &length)) {
        spoil(device, entry);
        return true;
    }
    if (is_admin)
        forget_formats(queues, command);
    return length == 0 || map_data(device, flight, entry, length);
}
