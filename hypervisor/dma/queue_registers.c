/* The registers of a device with queues of commands (section 3.1.3). */
#include "dma/guest.h"
#include "dma/queues.h"
#include "lib/string.h"

#define CAPABILITIES_ENTRIES(low) (((low)&0xffff) + 1)
#define CAPABILITIES_STRIDE(high) (4U << ((high)&0xf))
#define CONFIGURATION_ENABLE      1U
#define CONFIGURATION_PAGE_SIZE   0x780U /* 0: 4096 bytes */
#define ADMIN_SUBMISSION_SHIFT    0
#define ADMIN_COMPLETION_SHIFT    16
#define ADMIN_COUNT(value, shift) (((value) >> (shift)&0xfff) + 1)
#define DOORBELLS                 (2 * DMA_MAX_QUEUES)

static bool is_half(u32 base, u32 reg)
{
    return reg == base || reg == base + 4;
}

/* At their largest distance that fits. */
static u32 doorbells_size(const struct dma_queues *queues)
{
    return DOORBELLS * (queues->stride != 0 ? queues->stride : 4);
}

bool dma_queues_has_register(const struct dma_device *device, u32 reg)
{
    const struct dma_queues *queues = &device->queues;
    const struct dma_queues_profile *profile = queues->profile;

    if (profile == NULL)
        return false;
    return reg == profile->configuration || reg == profile->admin_attributes ||
           is_half(profile->admin_submission, reg) || is_half(profile->admin_completion, reg) ||
           reg - profile->doorbells < doorbells_size(queues);
}

static void set_half(u64 *address, u32 base, u32 reg, u32 value)
{
    u32 shift = reg == base ? 0 : 32;

    *address = (*address & ~(0xffffffffULL << shift)) | (u64)value << shift;
}

/* The queue that exists from the beginning is given by registers. */
static void set_admin(struct dma_device *device, u32 reg, u32 value)
{
    struct dma_queues *queues = &device->queues;
    const struct dma_queues_profile *profile = queues->profile;

    if (queues->enabled)
        device->stats.refused_writes++;
    else if (reg == profile->admin_attributes)
        queues->admin_attributes = value;
    else if (is_half(profile->admin_submission, reg))
        set_half(&queues->admin_submission, profile->admin_submission, reg, value);
    else
        set_half(&queues->admin_completion, profile->admin_completion, reg, value);
}

static void write_address(struct dma_device *device, u32 reg, u64 address)
{
    dma_write_register(device, reg, 4, address & 0xffffffff);
    dma_write_register(device, reg + 4, 4, address >> 32);
}

static bool learn_capabilities(struct dma_device *device)
{
    struct dma_queues *queues = &device->queues;
    u32 reg = queues->profile->capabilities;

    queues->entries_max =
        CAPABILITIES_ENTRIES((u32)device->env.device_read(device->env.ctx, reg, 4));
    queues->stride = CAPABILITIES_STRIDE((u32)device->env.device_read(device->env.ctx, reg + 4, 4));
    if (queues->profile->doorbells + doorbells_size(queues) <= device->profile->register_size)
        return true;
    dma_note_error(device, "the doorbells are farther apart than the DMA profile's registers");
    return false;
}

static bool enable(struct dma_device *device)
{
    struct dma_queues *queues = &device->queues;
    const struct dma_queues_profile *profile = queues->profile;
    u32 attributes = queues->admin_attributes;
    u32 submissions = ADMIN_COUNT(attributes, ADMIN_SUBMISSION_SHIFT);
    u32 completions = ADMIN_COUNT(attributes, ADMIN_COMPLETION_SHIFT);
    struct dma_submission *s = &queues->submissions[0];
    struct dma_completion *c = &queues->completions[0];

    if (!learn_capabilities(device))
        return false;
    dma_submission_begin(queues, 0, queues->admin_submission & ~PAGE_MASK, submissions, 0);
    dma_completion_begin(queues, 0, queues->admin_completion & ~PAGE_MASK, completions);
    s->count = submissions < DMA_QUEUE_ENTRIES ? submissions : DMA_QUEUE_ENTRIES;
    c->count = completions < DMA_QUEUE_ENTRIES ? completions : DMA_QUEUE_ENTRIES;
    memset(c->entries, 0, PAGE_SIZE);
    dma_write_register(device, profile->admin_attributes, 4,
                       (s->count - 1) << ADMIN_SUBMISSION_SHIFT | (c->count - 1)
                                                                      << ADMIN_COMPLETION_SHIFT);
    write_address(device, profile->admin_submission, s->phys);
    write_address(device, profile->admin_completion, c->phys);
    queues->enabled = true;
    return true;
}

static void configure(struct dma_device *device, u32 value, bool *forward)
{
    struct dma_queues *queues = &device->queues;

    if (value & CONFIGURATION_PAGE_SIZE) {
        dma_note_error(device, "the guest's driver wants pages of more than 4096 bytes, which "
                               "the device does not offer while recording");
        dma_refuse(device, forward);
        return;
    }
    queues->configuration = value;
    if (!queues->enabled && (value & CONFIGURATION_ENABLE)) {
        if (!enable(device))
            dma_refuse(device, forward);
    } else if (queues->enabled && !(value & CONFIGURATION_ENABLE)) {
        dma_queues_harvest(device);
        dma_write_register(device, queues->profile->configuration, 4, value);
        dma_queues_stop(device);
        *forward = false;
    }
}

static void doorbell(struct dma_device *device, u32 offset, u32 value)
{
    struct dma_queues *queues = &device->queues;
    u32 queue = queues->enabled ? offset / queues->stride / 2 : DMA_MAX_QUEUES;
    bool of_submissions;

    if (queue >= DMA_MAX_QUEUES || offset % queues->stride != 0) {
        device->stats.refused_writes++;
        return;
    }
    of_submissions = offset / queues->stride % 2 == 0;
    /* What is done comes before what is new. */
    dma_queues_harvest(device);
    if (of_submissions && queues->submissions[queue].live &&
        value < queues->submissions[queue].guest_count) {
        device->stats.doorbells++;
        queues->submissions[queue].guest_tail = value;
    } else if (!of_submissions && queues->completions[queue].live &&
               value < queues->completions[queue].guest_count) {
        queues->completions[queue].guest_head = value;
    } else {
        device->stats.refused_writes++;
        return;
    }
    dma_queues_harvest(device);
}

void dma_queues_write(struct dma_device *device, u32 reg, u32 value, bool *forward)
{
    const struct dma_queues_profile *profile = device->queues.profile;

    if (!dma_queues_has_register(device, reg))
        return;
    if (reg == profile->configuration) {
        configure(device, value, forward);
        return;
    }
    *forward = false;
    if (reg < profile->doorbells)
        set_admin(device, reg, value);
    else
        doorbell(device, reg - profile->doorbells, value);
}

u32 dma_queues_view(const struct dma_device *device, u32 reg, u32 value)
{
    const struct dma_queues *queues = &device->queues;
    const struct dma_queues_profile *profile = queues->profile;

    if (profile == NULL)
        return value;
    if (reg == profile->admin_attributes)
        return queues->admin_attributes;
    if (is_half(profile->admin_submission, reg))
        return (u32)(queues->admin_submission >> (reg == profile->admin_submission ? 0 : 32));
    if (is_half(profile->admin_completion, reg))
        return (u32)(queues->admin_completion >> (reg == profile->admin_completion ? 0 : 32));
    return value;
}
