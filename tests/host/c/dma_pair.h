/* Two devices of a kind, the direct and the recorded machine's, behind the commands that all of
 * them know:
 *   I  begins anew: value is the shadow's size, the payload begins with its physical address;
 *      a: the least size
 *   w  writes a register; a: whether the engine forwards it
 *   r  reads a register: a of the direct device, b of the recorded one
 *   a  gives both the payload
 *   t  lets both work: a and b as with r
 *   s  struct world_counters; the facts of the direct device, then those of the recorded one;
 *      struct dma_stats
 */
#ifndef LVMM_TEST_DMA_PAIR_H
#define LVMM_TEST_DMA_PAIR_H

#include "dma_world.h"

#define PAIR_FACTS_MAX 16

struct device_pair {
    const char *profile;
    void *devices[2]; /* the direct and the recorded one */
    void (*init)(void *device, bool recorded, const struct request *request);
    u64 (*read)(const void *device, u32 reg, u8 size);
    void (*write)(void *device, u32 reg, u8 size, u64 value);
    void (*give)(void *device, const struct request *request, const u8 *data);
    u64 (*run)(void *device, const struct request *request);
    u32 (*facts)(const void *device, u64 *facts); /* returns how many */
    /* Further commands; NULL: there are none. */
    bool (*serve)(const struct request *request, struct reply *reply);
};

int pair_serve(const struct device_pair *pair);

#endif
