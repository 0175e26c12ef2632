/*
 * The DMA engine in a world of its own, driven over stdin and stdout by tests/host/dma_world.py.
 *
 * Two machines get the same accesses: in the direct one the device reaches the guest's memory, in
 * the recorded one the engine stands between. A third memory is the replay: it gets the guest's own
 * writes and what the engine emitted, nothing else.
 */
#ifndef LVMM_TEST_DMA_WORLD_H
#define LVMM_TEST_DMA_WORLD_H

#include "dma/dma.h"

#define RAM_SIZE   0x200000U
#define HOLE_BEGIN 0xa0000U
#define HOLE_END   0xc0000U

struct request {
    u8 op, size;
    u16 port;
    u32 reg;
    u64 value;
    u32 payload_len;
} __attribute__((packed));

struct reply {
    s64 status;
    u64 a, b;
    u32 payload_len;
} __attribute__((packed));

struct world_counters {
    u64 ram_writes;   /* by the device of the recorded machine: must stay 0 */
    u64 stray_writes; /* of the device to neither RAM nor shadow */
    u64 stray_reads;
    u64 ram_reads; /* by the device of the recorded machine */
    u64 emitted_bytes;
};

extern struct dma_device engine;
extern struct world_counters world;
extern u8 payload[RAM_SIZE]; /* of the request, then of the reply */
extern u8 *shadow;
extern u64 shadow_phys, shadow_size;

/* Called where the engine looks at a page of the guest's. */
extern void (*world_on_guest_page)(void);

/* The buses of the devices; ctx is not used. */
void direct_read(void *ctx, u64 address, void *buf, u32 len);
void direct_write(void *ctx, u64 address, const void *buf, u32 len);
void recorded_read(void *ctx, u64 address, void *buf, u32 len);
void recorded_write(void *ctx, u64 address, const void *buf, u32 len);
bool is_shadow(u64 address, u32 len);

/* Begins anew: dma_device_init's result. `env` has the device's registers. Without a profile the
 * driver declares areas. */
s64 world_start(const char *profile, struct dma_env env, u64 phys, u64 size);

void answer(const void *data, u32 len, struct reply *reply);

/* Answers requests until stdin ends; `serve` knows those that are about the device. */
int world_serve(bool (*serve)(const struct request *request, struct reply *reply));

#endif
