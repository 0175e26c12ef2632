#include "dma_nic.h"

#include <string.h>

enum {
    CTRL = 0x0,
    CTRL_RST = 1 << 26,
    RCTL = 0x100,
    RCTL_EN = 1 << 1,
    TCTL = 0x400,
    TCTL_EN = 1 << 1,
    RX_RING = 0x2800,
    TX_RING = 0x3800,
    IGB_QUEUE = 2,
    IGB_RX_RING = 0xc000 + 0x40 * IGB_QUEUE,
    IGB_TX_RING = 0xe000 + 0x40 * IGB_QUEUE,
    IGB_ENABLE = 1 << 25,
    TOY_RING = 0x40,
    TOY_CONTROL = 0x10,
    TOY_ENABLE = 1 << 8,
    TOY_RESET = 0x8,
    /* from a ring's first register */
    BASE_LO = 0x0,
    BASE_HI = 0x4,
    LENGTH = 0x8,
    HEAD = 0x10,
    TAIL = 0x18,
    IGB_SIZE = 0xc,
    IGB_CONTROL = 0x28,
};

static u32 *reg(struct nic *nic, u32 offset)
{
    return &nic->registers[offset / 4];
}

static u64 ring_base(struct nic *nic, u32 ring)
{
    return (u64)*reg(nic, ring + BASE_HI) << 32 | (*reg(nic, ring + BASE_LO) & ~0xfU);
}

static u32 descriptor_size(const struct nic *nic)
{
    return nic->kind == NIC_TOY ? 32 : 16;
}

static u32 ring_count(struct nic *nic, u32 ring)
{
    return (*reg(nic, ring + LENGTH) & 0xfff80) / descriptor_size(nic);
}

static u64 descriptor_address(struct nic *nic, u32 ring)
{
    return ring_base(nic, ring) + (u64)*reg(nic, ring + HEAD) * descriptor_size(nic);
}

static void advance(struct nic *nic, u32 ring)
{
    u32 *head = reg(nic, ring + HEAD);

    *head = *head + 1 >= ring_count(nic, ring) ? 0 : *head + 1;
}

static u32 rx_ring(const struct nic *nic)
{
    if (nic->kind == NIC_IGB) {
        return IGB_RX_RING;
    }
    return nic->kind == NIC_TOY ? TOY_RING : RX_RING;
}

static u32 tx_ring(const struct nic *nic)
{
    return nic->kind == NIC_IGB ? IGB_TX_RING : TX_RING;
}

u64 nic_head_descriptor(struct nic *nic, bool rx)
{
    return descriptor_address(nic, rx ? rx_ring(nic) : tx_ring(nic));
}

void nic_init(struct nic *nic, enum nic_kind kind, const struct nic_bus *bus)
{
    memset(nic, 0, sizeof(*nic));
    nic->kind = kind;
    nic->bus = *bus;
}

/* The igb's queues have two places each: 0x2800 and 0x3800, 256 bytes apart, are the old ones. */
static u32 place_of(const struct nic *nic, u32 offset)
{
    u32 old = offset & ~0xf3fU;

    offset &= NIC_REGISTER_BYTES - 4;
    if (nic->kind == NIC_IGB && (old == 0x2000 || old == 0x3000) && (offset & 0x800)) {
        return (old == 0x2000 ? 0xc000 : 0xe000) + (offset >> 8 & 3) * 0x40 + (offset & 0x3f);
    }
    return offset;
}

u32 nic_read_register(struct nic *nic, u32 offset)
{
    return *reg(nic, place_of(nic, offset));
}

static void reset(struct nic *nic)
{
    nic->pending_count = 0;
    nic->frame_length = 0;
    if (!nic->reset_keeps_registers) {
        memset(nic->registers, 0, sizeof(nic->registers));
    }
}

void nic_write_register(struct nic *nic, u32 offset, u32 value)
{
    offset = place_of(nic, offset);
    if ((nic->kind != NIC_TOY && offset == CTRL && (value & CTRL_RST)) ||
        (nic->kind == NIC_TOY && offset == TOY_RESET && (value & 1))) {
        reset(nic);
        value &= ~(u32)(nic->kind == NIC_TOY ? 1 : CTRL_RST);
    }
    *reg(nic, offset) = value;
}

static u32 buffer_size(struct nic *nic)
{
    static const u32 plain[] = {2048, 1024, 512, 256}, extended[] = {2048, 16384, 8192, 4096};
    u32 rctl = *reg(nic, RCTL);

    if (nic->kind == NIC_TOY) {
        return *reg(nic, TOY_CONTROL) & 1 ? 512 : 128;
    }
    if (nic->kind == NIC_IGB) {
        return (*reg(nic, IGB_RX_RING + IGB_SIZE) & 0x7f) * 1024;
    }
    return (rctl & 1 << 25 ? extended : plain)[rctl >> 16 & 3];
}

static bool rx_enabled(struct nic *nic)
{
    if (nic->kind == NIC_IGB) {
        return (*reg(nic, IGB_RX_RING + IGB_CONTROL) & IGB_ENABLE) != 0;
    }
    return nic->kind == NIC_TOY ? (*reg(nic, TOY_CONTROL) & TOY_ENABLE) != 0
                                : (*reg(nic, RCTL) & RCTL_EN) != 0;
}

static bool tx_enabled(struct nic *nic)
{
    return nic->kind == NIC_IGB ? (*reg(nic, IGB_TX_RING + IGB_CONTROL) & IGB_ENABLE) != 0
                                : (*reg(nic, TCTL) & TCTL_EN) != 0;
}

static u16 sum16(const u8 *data, u32 len)
{
    u32 sum = 0;

    for (u32 i = 0; i < len; i++) {
        sum += (u32)data[i] << (i % 2 ? 8 : 0);
    }
    return (u16)(sum + (sum >> 16));
}

/* Returns the bytes of the frame that the descriptor took. */
static u32 fill_e1000(struct nic *nic, u64 where, const u8 *data, u32 left)
{
    u8 descriptor[16];
    u32 chunk = left < buffer_size(nic) ? left : buffer_size(nic);
    u16 sum = sum16(data, chunk);
    u64 address;

    nic->bus.read(nic->bus.ctx, where, descriptor, sizeof(descriptor));
    memcpy(&address, descriptor, 8);
    if (address == 0) {
        descriptor[12] |= 1;
        nic->bus.write(nic->bus.ctx, where + 12, descriptor + 12, 1);
        return 0;
    }
    nic->bus.write(nic->bus.ctx, address, data, chunk);
    descriptor[8] = (u8)chunk;
    descriptor[9] = (u8)(chunk >> 8);
    memcpy(descriptor + 10, &sum, 2);
    descriptor[12] = chunk == left ? 0x7 : 0x1;
    descriptor[13] = 0;
    descriptor[14] = 0;
    descriptor[15] = 0;
    nic->bus.write(nic->bus.ctx, where + 8, descriptor + 8, 8);
    return chunk;
}

/* Extended and advanced descriptors are overwritten with the same. */
static u32 fill_extended(struct nic *nic, u64 where, const u8 *data, u32 left)
{
    u32 chunk = left < buffer_size(nic) ? left : buffer_size(nic);
    u32 written[4] = {0x1234, sum16(data, chunk), chunk == left ? 3 : 1, chunk};
    u64 address;

    nic->bus.read(nic->bus.ctx, where, &address, sizeof(address));
    nic->bus.write(nic->bus.ctx, address, data, chunk);
    nic->bus.write(nic->bus.ctx, where, written, sizeof(written));
    return chunk;
}

static u32 fill_toy(struct nic *nic, u64 where, const u8 *data, u32 left)
{
    u8 descriptor[32];
    u32 chunk = left < buffer_size(nic) ? left : buffer_size(nic);
    u32 address;

    nic->bus.read(nic->bus.ctx, where, descriptor, sizeof(descriptor));
    memcpy(&address, descriptor + 4, 4);
    nic->bus.write(nic->bus.ctx, address, data, chunk);
    memset(descriptor, (u8)sum16(data, chunk), sizeof(descriptor));
    memcpy(descriptor + 16, &chunk, 4);
    descriptor[31] = chunk == left ? 0xc0 : 0x80;
    nic->bus.write(nic->bus.ctx, where, descriptor, sizeof(descriptor));
    return chunk;
}

void nic_receive(struct nic *nic, const u8 *frame, u32 len)
{
    const u32 ring = rx_ring(nic), count = ring_count(nic, ring);
    u32 *head = reg(nic, ring + HEAD), *tail = reg(nic, ring + TAIL);
    u32 available = count ? (*tail + count - *head) % count : 0;
    u32 done = 0;

    if (!rx_enabled(nic) || (u64)available * buffer_size(nic) < len) {
        return;
    }
    /* A tail outside the ring would never be reached. */
    for (u32 used = 0; done < len && *head != *tail && used < count; used++) {
        u64 where = descriptor_address(nic, ring);

        switch (nic->kind) {
        case NIC_TOY:
            done += fill_toy(nic, where, frame + done, len - done);
            break;
        case NIC_E1000:
            done += fill_e1000(nic, where, frame + done, len - done);
            break;
        default:
            done += fill_extended(nic, where, frame + done, len - done);
            break;
        }
        advance(nic, ring);
    }
}

static void transmit_data(struct nic *nic, u64 address, u32 len)
{
    u8 byte;

    for (u32 i = 0; i < len; i++) {
        nic->bus.read(nic->bus.ctx, address + i, &byte, 1);
        nic->digest = (nic->digest ^ byte) * 0x100000001b3ULL;
    }
    nic->frame_length += len;
    nic->bytes += len;
}

static void transmit_one(struct nic *nic)
{
    u64 where = descriptor_address(nic, tx_ring(nic)), address;
    u8 descriptor[16];
    u32 context = nic->kind == NIC_IGB ? 0x20200000 : 0x20000000;
    u32 lower;

    nic->bus.read(nic->bus.ctx, where, descriptor, sizeof(descriptor));
    memcpy(&address, descriptor, 8);
    memcpy(&lower, descriptor + 8, 4);
    if ((lower & 0x20f00000) != context) {
        /* A hostile length would make the tests slow; no real frame is longer. */
        u32 len = lower & (lower & 0x20000000 && nic->kind != NIC_IGB ? 0xfffff : 0xffff);

        transmit_data(nic, address, len < NIC_MAX_FRAME ? len : NIC_MAX_FRAME);
        if (lower & 1 << 24) {
            nic->digest = (nic->digest ^ nic->frame_length) * 0x100000001b3ULL;
            nic->frame_length = 0;
            nic->frames++;
        }
    }
    if ((lower & 1 << 27) && nic->pending_count < NIC_MAX_PENDING) {
        descriptor[12] = (u8)((descriptor[12] & 0xf0) | 1);
        nic->pending[nic->pending_count].address = where + 12;
        memcpy(nic->pending[nic->pending_count].status, descriptor + 12, 4);
        nic->pending_count++;
    }
    advance(nic, tx_ring(nic));
}

void nic_transmit(struct nic *nic, u32 n, bool defer)
{
    while (n-- > 0 && tx_enabled(nic) &&
           *reg(nic, tx_ring(nic) + HEAD) != *reg(nic, tx_ring(nic) + TAIL)) {
        transmit_one(nic);
    }
    if (!defer) {
        nic_flush(nic);
    }
}

void nic_flush(struct nic *nic)
{
    for (u32 i = 0; i < nic->pending_count; i++) {
        nic->bus.write(nic->bus.ctx, nic->pending[i].address, nic->pending[i].status, 4);
    }
    nic->pending_count = 0;
}
