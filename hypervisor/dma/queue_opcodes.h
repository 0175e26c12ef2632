/* Commands of the admin queue that the engine knows by itself. */
#ifndef LVMM_DMA_QUEUE_OPCODES_H
#define LVMM_DMA_QUEUE_OPCODES_H

#include "dma/queues.h"

/* Section 3.3.1: opcodes of the admin queue that are about queues, and the fields of these. */
enum {
    DELETE_SUBMISSION = 0x00,
    CREATE_SUBMISSION = 0x01,
    DELETE_COMPLETION = 0x04,
    CREATE_COMPLETION = 0x05,
    IDENTIFY = 0x06,
    SET_FEATURES = 0x09,
    GET_FEATURES = 0x0a,
    NAMESPACE_MANAGEMENT = 0x0d,
    FORMAT = 0x80,
};

#define QUEUE_ID         ((struct dma_field){40, 2})
#define QUEUE_SIZE       ((struct dma_field){42, 2}) /* entries less 1 */
#define QUEUE_FLAGS      44
#define QUEUE_CONTIGUOUS 1
#define QUEUE_COMPLETION ((struct dma_field){46, 2})

bool dma_queue_is_about_queues(const u8 *command);
bool dma_queue_creates(const u8 *command);
bool dma_queue_matches(struct dma_command_selector selector, const u8 *command);

/* What is known of a namespace; NULL: nothing. */
struct dma_namespace *dma_queue_namespace(struct dma_queues *queues, u32 id);

#endif
