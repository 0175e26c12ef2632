/*
 * A model of bus-master IDE, written from the specification and independent of the profiles: the
 * device under the DMA engine in the host tests. What memory it reaches is up to its bus.
 */
#ifndef LVMM_TEST_DMA_IDE_H
#define LVMM_TEST_DMA_IDE_H

#include "lib/types.h"

#define IDE_CHANNELS     2
#define IDE_TRANSFER_MAX 0x200000

struct ide_bus {
    void *ctx;
    void (*read)(void *ctx, u64 address, void *buf, u32 len);
    void (*write)(void *ctx, u64 address, const void *buf, u32 len);
};

struct ide_channel {
    u8 command, status;
    u32 table;
    u32 entry;                 /* address of the current entry of the table */
    u32 address, left;         /* of the current buffer */
    bool loaded, last;         /* the current entry was read; it is the last */
    u32 asked, done;           /* bytes of the drive's command */
    u64 digest;                /* of what the drive was given */
    u8 data[IDE_TRANSFER_MAX]; /* what the drive gives */
};

struct ide {
    struct ide_bus bus;
    struct ide_channel channels[IDE_CHANNELS];
};

void ide_init(struct ide *ide, const struct ide_bus *bus);
u8 ide_read_register(const struct ide *ide, u32 reg);
void ide_write_register(struct ide *ide, u32 reg, u8 value);

/* The drive of a channel is given a command that transfers this much; `data`: what it reads. */
void ide_ask(struct ide *ide, u32 channel, const void *data, u32 len);

/* Transfers up to n bytes. */
void ide_run(struct ide *ide, u32 channel, u32 n);

#endif
