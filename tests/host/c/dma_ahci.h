/*
 * A model of an AHCI controller with two ports, written from the specification and independent of
 * the profiles: the device under the DMA engine in the host tests.
 */
#ifndef LVMM_TEST_DMA_AHCI_H
#define LVMM_TEST_DMA_AHCI_H

#include "lib/types.h"

#define AHCI_PORTS        2
#define AHCI_SLOTS        32
#define AHCI_TRANSFER_MAX 0x180000

struct ahci_bus {
    void *ctx;
    void (*read)(void *ctx, u64 address, void *buf, u32 len);
    void (*write)(void *ctx, u64 address, const void *buf, u32 len);
};

struct ahci_port {
    u64 list, area;
    u32 command, issue, busy;
    u64 digest;  /* of what the drive was given, commands included */
    u32 counter; /* of messages, each of which has its number */
};

struct ahci {
    struct ahci_bus bus;
    struct ahci_port ports[AHCI_PORTS];
    u8 data[AHCI_TRANSFER_MAX]; /* what the drives give */
};

void ahci_init(struct ahci *ahci, const struct ahci_bus *bus);
u32 ahci_read_register(const struct ahci *ahci, u32 reg);
void ahci_write_register(struct ahci *ahci, u32 reg, u32 value);

/* What drives give from now on, from the beginning at each command. */
void ahci_set_data(struct ahci *ahci, const void *data, u32 len);

/* Carries out the command in a slot, if it is issued: up to `len` bytes of it. */
void ahci_run(struct ahci *ahci, u32 port, u32 slot, u32 len);

#endif
