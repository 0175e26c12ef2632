#include "dma_ahci.h"

#include <string.h>

#define GHC       0x4
#define GHC_RESET 1

#define PORTS       0x100
#define PORT_STRIDE 0x80
#define CLB         0x00
#define CLBU        0x04
#define FB          0x08
#define FBU         0x0c
#define CMD         0x18
#define CMD_START   1
#define CMD_RECEIVE 0x10
#define SACT        0x34
#define CI          0x38

#define HEADER_SIZE  32
#define HEADER_WRITE 0x40
#define FIS_SIZE     64
#define ENTRIES      0x80
#define ENTRY_SIZE   16
#define PAGE         4096U
#define MESSAGE      0x40 /* of a device-to-host register FIS in the area */

void ahci_init(struct ahci *ahci, const struct ahci_bus *bus)
{
    memset(ahci, 0, sizeof(*ahci));
    ahci->bus = *bus;
}

void ahci_set_data(struct ahci *ahci, const void *data, u32 len)
{
    memcpy(ahci->data, data, len < AHCI_TRANSFER_MAX ? len : AHCI_TRANSFER_MAX);
}

static struct ahci_port *port_of(struct ahci *ahci, u32 reg)
{
    u32 port = (reg - PORTS) / PORT_STRIDE;

    return reg >= PORTS && port < AHCI_PORTS ? &ahci->ports[port] : NULL;
}

u32 ahci_read_register(const struct ahci *ahci, u32 reg)
{
    const struct ahci_port *port = port_of((struct ahci *)ahci, reg);

    if (port == NULL) {
        return 0;
    }
    switch (reg % PORT_STRIDE & ~3U) {
    case CLB:
        return (u32)port->list;
    case CLBU:
        return (u32)(port->list >> 32);
    case FB:
        return (u32)port->area;
    case FBU:
        return (u32)(port->area >> 32);
    case CMD:
        return port->command;
    case SACT:
        return port->busy;
    case CI:
        return port->issue;
    default:
        return 0;
    }
}

static void write_port(struct ahci_port *port, u32 reg, u32 value)
{
    switch (reg) {
    case CLB:
        port->list = (port->list & ~0xffffffffULL) | (value & ~0x3ffU);
        break;
    case CLBU:
        port->list = (port->list & 0xffffffff) | (u64)value << 32;
        break;
    case FB:
        port->area = (port->area & ~0xffffffffULL) | (value & ~0xffU);
        break;
    case FBU:
        port->area = (port->area & 0xffffffff) | (u64)value << 32;
        break;
    case CMD:
        port->command = value & (CMD_START | CMD_RECEIVE);
        if (!(value & CMD_START)) {
            port->issue = 0;
            port->busy = 0;
        }
        break;
    case SACT:
        port->busy |= port->command & CMD_START ? value : 0;
        break;
    case CI:
        port->issue |= port->command & CMD_START ? value : 0;
        break;
    default:
        break;
    }
}

void ahci_write_register(struct ahci *ahci, u32 reg, u32 value)
{
    struct ahci_port *port = port_of(ahci, reg);

    if (reg == GHC && (value & GHC_RESET)) {
        for (u32 i = 0; i < AHCI_PORTS; i++) {
            ahci->ports[i].list = 0;
            ahci->ports[i].area = 0;
            ahci->ports[i].command = 0;
            ahci->ports[i].issue = 0;
            ahci->ports[i].busy = 0;
        }
    } else if (port != NULL) {
        write_port(port, reg % PORT_STRIDE, value);
    }
}

static void fold(struct ahci_port *port, const u8 *data, u32 len)
{
    for (u32 i = 0; i < len; i++) {
        port->digest = (port->digest ^ data[i]) * 0x100000001b3ULL;
    }
}

static u32 move_entry(struct ahci *ahci, struct ahci_port *port, const u8 *entry, bool to_memory,
                      u32 done, u32 len)
{
    u8 page[PAGE];
    u64 address;
    u32 left, moved = 0, part;

    memcpy(&address, entry, 8);
    memcpy(&left, entry + 12, 4);
    left = (left & 0x3fffff) + 1;
    address &= ~1ULL;
    for (; left > 0 && done + moved < len; moved += part, left -= part) {
        part = PAGE - (u32)(address + moved) % PAGE;
        part = part < left ? part : left;
        part = part < len - done - moved ? part : len - done - moved;
        if (to_memory) {
            ahci->bus.write(ahci->bus.ctx, address + moved, ahci->data + done + moved, part);
        } else {
            ahci->bus.read(ahci->bus.ctx, address + moved, page, part);
            fold(port, page, part);
        }
    }
    return moved;
}

static void send_message(struct ahci *ahci, struct ahci_port *port, u32 slot)
{
    u32 message[5] = {0x34, slot, ++port->counter, 0, 0};

    if (port->command & CMD_RECEIVE) {
        ahci->bus.write(ahci->bus.ctx, port->area + MESSAGE, message, sizeof(message));
    }
}

void ahci_run(struct ahci *ahci, u32 number, u32 slot, u32 len)
{
    struct ahci_port *port = &ahci->ports[number % AHCI_PORTS];
    u64 header_at = port->list + (u64)(slot % AHCI_SLOTS) * HEADER_SIZE, table;
    u32 bit = 1U << slot % AHCI_SLOTS, done = 0;
    u8 header[HEADER_SIZE], fis[FIS_SIZE], entry[ENTRY_SIZE];
    u16 count;

    if (!(port->issue & bit)) {
        return;
    }
    len = len < AHCI_TRANSFER_MAX ? len : AHCI_TRANSFER_MAX;
    ahci->bus.read(ahci->bus.ctx, header_at, header, sizeof(header));
    memcpy(&count, header + 2, 2);
    memcpy(&table, header + 8, 8);
    table &= ~0x7fULL;
    ahci->bus.read(ahci->bus.ctx, table, fis, sizeof(fis));
    fold(port, fis, sizeof(fis));
    for (u32 i = 0; i < count && done < len; i++) {
        ahci->bus.read(ahci->bus.ctx, table + ENTRIES + (u64)i * ENTRY_SIZE, entry, sizeof(entry));
        done += move_entry(ahci, port, entry, !(header[0] & HEADER_WRITE), done, len);
    }
    ahci->bus.write(ahci->bus.ctx, header_at + 4, &done, 4);
    send_message(ahci, port, slot % AHCI_SLOTS);
    port->issue &= ~bit;
    port->busy &= ~bit;
}
