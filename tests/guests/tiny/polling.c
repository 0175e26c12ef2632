/* Receives frames by polling the descriptors in memory: no interrupt, and no register of the network
   card is read meanwhile, so that nothing but the frames themselves is an input. */
#include "runtime.h"

#define BATCHES     8
#define DESCRIPTORS 64
#define BUFFER_SIZE 2048

#define PCI_ADDRESS   0xcf8
#define PCI_DATA      0xcfc
#define PCI_ENABLE    0x80000000u
#define PCI_COMMAND   0x04
#define PCI_BAR0      0x10
#define PCI_DEVICES   32
#define MEMORY_MASTER 6

/* "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual", chapters 3, 13. */
#define CARD_ID     0x100e8086u
#define CTRL        0x0000
#define CTRL_SLU    (1u << 6)
#define IMC         0x00d8
#define RCTL        0x0100
#define RCTL_EN     (1u << 1)
#define RCTL_BAM    (1u << 15)
#define RDBAL       0x2800
#define RDBAH       0x2804
#define RDLEN       0x2808
#define RDH         0x2810
#define RDT         0x2818
#define STATUS_DONE 1

struct descriptor {
    u64 address;
    u16 length, checksum;
    u8 status, errors;
    u16 special;
};

struct batch {
    u32 spins, frames, bytes, digest;
};

static struct descriptor ring[DESCRIPTORS] __attribute__((aligned(128)));
static u8 buffers[DESCRIPTORS][BUFFER_SIZE];
static struct batch batches[BATCHES];

static u32 pci_address(u32 device, u32 offset) {
    return PCI_ENABLE | device << 11 | offset;
}

static u32 pci_read(u32 device, u32 offset) {
    out32(PCI_ADDRESS, pci_address(device, offset));
    return in32(PCI_DATA);
}

static void pci_write(u32 device, u32 offset, u32 value) {
    out32(PCI_ADDRESS, pci_address(device, offset));
    out32(PCI_DATA, value);
}

/* The card's registers, or 0. */
static u32 find_card(void) {
    for (u32 device = 0; device < PCI_DEVICES; device++) {
        if (pci_read(device, 0) != CARD_ID)
            continue;
        pci_write(device, PCI_COMMAND, MEMORY_MASTER);
        return pci_read(device, PCI_BAR0) & ~15u;
    }
    return 0;
}

static void card_write(u32 card, u32 offset, u32 value) {
    *(volatile u32 *)(card + offset) = value;
}

static void start_card(u32 card) {
    for (u32 i = 0; i < DESCRIPTORS; i++)
        ring[i].address = (u32)buffers[i];
    card_write(card, IMC, ~0u);
    card_write(card, CTRL, CTRL_SLU);
    card_write(card, RDBAL, (u32)ring);
    card_write(card, RDBAH, 0);
    card_write(card, RDLEN, sizeof(ring));
    card_write(card, RDH, 0);
    card_write(card, RDT, DESCRIPTORS - 1);
    card_write(card, RCTL, RCTL_EN | RCTL_BAM);
}

static void receive(struct batch *batch, u32 index) {
    volatile struct descriptor *d = &ring[index];
    batch->frames++;
    batch->bytes += d->length;
    for (u32 i = 0; i < d->length; i++)
        batch->digest = batch->digest * 31 + buffers[index][i];
    d->status = 0;
}

/* A batch is what there is at once after a wait. */
static void poll(u32 card) {
    u32 next = 0;
    for (u32 i = 0; i < BATCHES; i++) {
        struct batch *batch = &batches[i];
        volatile struct descriptor *d = &ring[next];
        while (!(d->status & STATUS_DONE))
            batch->spins++;
        while (ring[next].status & STATUS_DONE) {
            receive(batch, next);
            card_write(card, RDT, next);
            next = (next + 1) % DESCRIPTORS;
        }
    }
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    u32 card = find_card();
    if (card == 0) {
        print("unexpected: no network card\n");
        end_halted();
    }
    start_card(card);
    poll(card);
    card_write(card, RCTL, 0);
    for (u32 i = 0; i < BATCHES; i++)
        print("spins %u frames %u bytes %u digest %x\n", batches[i].spins, batches[i].frames,
              batches[i].bytes, batches[i].digest);
    end_reset();
}
