/*
 * A model of a UHCI controller, written from the design guide and independent of the profiles: the
 * device under the DMA engine in the host tests. What a transaction brings is what the test says.
 */
#ifndef LVMM_TEST_DMA_UHCI_H
#define LVMM_TEST_DMA_UHCI_H

#include "lib/types.h"

#define UHCI_RESULTS_MAX 4096

struct uhci_bus {
    void *ctx;
    void (*read)(void *ctx, u64 address, void *buf, u32 len);
    void (*write)(void *ctx, u64 address, const void *buf, u32 len);
};

/* What becomes of a transaction. */
enum uhci_result {
    UHCI_ALL,   /* all bytes of it */
    UHCI_SHORT, /* half of them */
    UHCI_NAK,   /* none; the transfer stays active */
    UHCI_STALL,
    UHCI_BABBLE, /* all bytes came, and more */
    UHCI_ERROR,  /* half of the bytes; the transfer stays active until its errors are used up */
    UHCI_RESULT_COUNT,
};

struct uhci {
    struct uhci_bus bus;
    u16 command, status, frame;
    u32 list;
    u8 results[UHCI_RESULTS_MAX]; /* used up by the transactions, then all are UHCI_ALL */
    u32 result_count, next_result;
    u32 transactions; /* carried out */
    u64 digest;       /* of the transactions' tokens, and of what was sent */
};

void uhci_init(struct uhci *uhci, const struct uhci_bus *bus);
u32 uhci_read_register(const struct uhci *uhci, u32 reg, u8 size);
void uhci_write_register(struct uhci *uhci, u32 reg, u8 size, u32 value);

void uhci_set_results(struct uhci *uhci, const u8 *results, u32 count);

/* One frame, with at most so many transactions. */
void uhci_run_frame(struct uhci *uhci, u32 transactions);

#endif
