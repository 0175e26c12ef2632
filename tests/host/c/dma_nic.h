/*
 * A model of a NIC with descriptor rings, written from the manual and independent of the profiles:
 * the device under the DMA engine in the host tests. What memory it reaches is up to its bus.
 */
#ifndef LVMM_TEST_DMA_NIC_H
#define LVMM_TEST_DMA_NIC_H

#include "lib/types.h"

enum nic_kind {
    NIC_E1000,  /* 82540EM, legacy descriptors */
    NIC_TOY,    /* 32-byte receive descriptors that the device overwrites whole */
    NIC_E1000E, /* 82574, extended receive descriptors */
    NIC_IGB,    /* I210, advanced descriptors; it works with queue 2 */
};

#define NIC_REGISTER_BYTES 0x20000
#define NIC_MAX_FRAME      16384
#define NIC_MAX_PENDING    4096

struct nic_bus {
    void *ctx;
    void (*read)(void *ctx, u64 address, void *buf, u32 len);
    void (*write)(void *ctx, u64 address, const void *buf, u32 len);
};

struct nic {
    enum nic_kind kind;
    bool reset_keeps_registers; /* as some emulated devices do */
    struct nic_bus bus;
    u32 registers[NIC_REGISTER_BYTES / 4];
    u32 io_address;

    /* The transmitted frames. */
    u32 frames, frame_length;
    u64 bytes, digest;

    /* Write-backs of transmit descriptors that the device holds back. */
    u32 pending_count;
    struct {
        u64 address;
        u8 status[4];
    } pending[NIC_MAX_PENDING];
};

void nic_init(struct nic *nic, enum nic_kind kind, const struct nic_bus *bus);
u32 nic_read_register(struct nic *nic, u32 reg);
void nic_write_register(struct nic *nic, u32 reg, u32 value);

/* A frame arrives from the wire. */
void nic_receive(struct nic *nic, const u8 *frame, u32 len);

/* Works on up to n transmit descriptors; defer: hold back their write-backs. */
void nic_transmit(struct nic *nic, u32 n, bool defer);
void nic_flush(struct nic *nic);

/* The address of a ring's descriptor at the head, as the device sees it. */
u64 nic_head_descriptor(struct nic *nic, bool rx);

#endif
