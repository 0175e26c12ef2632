#include "dma/queue_opcodes.h"

/* What is known of the namespace; NULL: nothing. */
struct dma_namespace *dma_queue_namespace(struct dma_queues *queues, u32 id)
{
    for (u32 i = 0; i < DMA_MAX_NAMESPACES; i++)
        if (queues->namespaces[i].id == id)
            return &queues->namespaces[i];
    return NULL;
}

bool dma_queue_matches(struct dma_command_selector selector, const u8 *command)
{
    return selector.opcode == command[QUEUE_COMMAND_OPCODE] &&
           selector.selected == command[QUEUE_COMMAND_SELECTED];
}

bool dma_queue_is_about_queues(const u8 *command)
{
    switch (command[QUEUE_COMMAND_OPCODE]) {
    case DELETE_SUBMISSION:
    case CREATE_SUBMISSION:
    case DELETE_COMPLETION:
    case CREATE_COMPLETION:
        return true;
    default:
        return false;
    }
}

bool dma_queue_creates(const u8 *command)
{
    return command[QUEUE_COMMAND_OPCODE] == CREATE_SUBMISSION ||
           command[QUEUE_COMMAND_OPCODE] == CREATE_COMPLETION;
}
