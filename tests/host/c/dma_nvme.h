/*
 * A model of an NVMe controller, written from the specification and independent of the profiles:
 * the device under the DMA engine in the host tests. It fetches commands when their doorbell rings,
 * and carries one out when it is told to. Namespace 1 has blocks of 512 bytes, namespace 2 of 4096.
 */
#ifndef LVMM_TEST_DMA_NVME_H
#define LVMM_TEST_DMA_NVME_H

#include "lib/types.h"

#define NVME_QUEUES       16
#define NVME_FETCHED      1024
#define NVME_TRANSFER_MAX 0x100000
#define NVME_ENTRIES_MAX  1024

struct nvme_bus {
    void *ctx;
    void (*read)(void *ctx, u64 address, void *buf, u32 len);
    void (*write)(void *ctx, u64 address, const void *buf, u32 len);
};

struct nvme_queue {
    bool live;
    u64 base;
    u32 count, head, tail;
    u32 completion; /* of a submission queue */
    bool phase;     /* of a completion queue */
};

struct nvme_fetched {
    u32 queue; /* NVME_QUEUES: none */
    u8 command[64];
};

struct nvme {
    struct nvme_bus bus;
    u32 configuration, status, admin_attributes;
    u64 admin_submission, admin_completion;
    struct nvme_queue submissions[NVME_QUEUES], completions[NVME_QUEUES];
    struct nvme_fetched fetched[NVME_FETCHED]; /* in their order */
    u32 fetched_count;
    u64 digest;                 /* of what the controller was given */
    u8 data[NVME_TRANSFER_MAX]; /* what it gives */
    u32 stride;                 /* CAP.DSTRD */
};

void nvme_init(struct nvme *nvme, const struct nvme_bus *bus, u32 stride);
u32 nvme_read_register(const struct nvme *nvme, u32 reg);
void nvme_write_register(struct nvme *nvme, u32 reg, u32 value);

/* What it gives from now on, from the beginning at each command. */
void nvme_set_data(struct nvme *nvme, const void *data, u32 len);

/* Carries out the first command that it has fetched from the queue, with this identifier; did it
 * have one, with room for the completion? */
bool nvme_run(struct nvme *nvme, u32 queue, u32 id);

#endif
