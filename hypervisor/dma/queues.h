/* Queues of commands with lists of pages: NVMe. A device has one set of them. Section numbers are
 * of the "NVM Express Base Specification", revision 2.0. */
#ifndef LVMM_DMA_QUEUES_H
#define LVMM_DMA_QUEUES_H

#include "dma/dma.h"

/* Bytes of shadow area, with one command's buffers; 0 where the profile has no queues. */
u64 dma_queues_minimum(const struct dma_profile *profile);
/* Divides what is left of the shadow area, page-aligned, among queues and commands. */
void dma_queues_init(struct dma_device *device, u8 *memory, u64 phys, u64 size);

/* Gives up what the device works on, and all queues; what it has done stays done. */
void dma_queues_stop(struct dma_device *device);
/* Whether the device works on a command. */
bool dma_queues_busy(const struct dma_device *device);
/* Returns the number of commands completed. */
int dma_queues_harvest(struct dma_device *device);

/* Whether a 32-bit register concerns the queues. */
bool dma_queues_has_register(const struct dma_device *device, u32 reg);
/* Before a 32-bit register is written: clears *forward where the device must not see it. */
void dma_queues_write(struct dma_device *device, u32 reg, u32 value, bool *forward);
/* What the guest sees of a register. */
u32 dma_queues_view(const struct dma_device *device, u32 reg, u32 value);

/* --- between the parts --- */

/* Begins a queue that the device knows from now on. `guest_count`: entries of the guest's. */
void dma_submission_begin(struct dma_queues *queues, u32 queue, u64 guest_base, u32 guest_count,
                          u32 completion);
void dma_completion_begin(struct dma_queues *queues, u32 queue, u64 guest_base, u32 guest_count);
/* Entries of the shadow of a queue for which the guest asks for so many. */
u32 dma_queue_entries(const struct dma_queues *queues, u32 guest_count);
/* Ends a queue that the device has deleted. */
void dma_submission_end(struct dma_device *device, u32 queue);
void dma_completion_end(struct dma_device *device, u32 queue);

/* Makes of the guest's command, in flight->command, the one for the device, at `entry`. False: it
 * must wait until there are buffers. */
bool dma_queue_prepare(struct dma_device *device, struct dma_in_flight *flight, u8 *entry);
/* The device has carried out a command, as the completion says: what that means for the queues, and
 * for what the guest sees of the data and the completion. */
void dma_queue_reply(struct dma_device *device, const struct dma_in_flight *flight, u8 *completion);

/* Makes the shadow of a command's pages, for `length` bytes, at most the profile's max_transfer,
 * and puts their addresses into the command. */
void dma_pages_map(struct dma_device *device, struct dma_buffers *buffers, u8 *command, u32 length,
                   bool to_memory);

/* Fields of commands and completions (sections 3.3.3 and 4.2.3; figures of the common format). */
#define QUEUE_COMMAND_OPCODE    0
#define QUEUE_COMMAND_FLAGS     1 /* bits 7:6: 0 where the data is described by pages */
#define QUEUE_COMMAND_SELECTED  40
#define QUEUE_COMMAND_ID        ((struct dma_field){2, 2})
#define QUEUE_COMMAND_NAMESPACE ((struct dma_field){4, 4})
#define QUEUE_COMMAND_METADATA  ((struct dma_field){16, 8})
#define QUEUE_COMMAND_PAGE1     ((struct dma_field){24, 8})
#define QUEUE_COMMAND_PAGE2     ((struct dma_field){32, 8})

#define QUEUE_COMPLETION_SIZE   16
#define QUEUE_COMPLETION_RESULT ((struct dma_field){0, 4})
#define QUEUE_COMPLETION_HEAD   ((struct dma_field){8, 2})
#define QUEUE_COMPLETION_QUEUE  ((struct dma_field){10, 2})
#define QUEUE_COMPLETION_ID     ((struct dma_field){12, 2})
#define QUEUE_COMPLETION_STATUS ((struct dma_field){14, 2}) /* bit 0: the phase */

#endif
