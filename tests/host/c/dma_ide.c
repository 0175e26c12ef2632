#include "dma_ide.h"

#include <string.h>

#define COMMAND_START     0x01
#define COMMAND_TO_MEMORY 0x08
#define STATUS_ACTIVE     0x01
#define STATUS_ERROR      0x02
#define STATUS_INTERRUPT  0x04
#define STATUS_CAPABLE    0x60

#define ENTRY_SIZE 8
#define PAGE       4096U

void ide_init(struct ide *ide, const struct ide_bus *bus)
{
    memset(ide, 0, sizeof(*ide));
    ide->bus = *bus;
}

u8 ide_read_register(const struct ide *ide, u32 reg)
{
    const struct ide_channel *channel = &ide->channels[reg / 8 % IDE_CHANNELS];

    switch (reg % 8) {
    case 0:
        return channel->command;
    case 2:
        return channel->status;
    case 4:
    case 5:
    case 6:
    case 7:
        return (u8)(channel->table >> (8 * (reg % 4)));
    default:
        return 0;
    }
}

static void set_command(struct ide_channel *channel, u8 value)
{
    bool starts = (value & COMMAND_START) && !(channel->command & COMMAND_START);

    if (channel->command & value & COMMAND_START) {
        value = (u8)((value & ~COMMAND_TO_MEMORY) | (channel->command & COMMAND_TO_MEMORY));
    }
    channel->command = value & (COMMAND_START | COMMAND_TO_MEMORY);
    if (!(value & COMMAND_START)) {
        channel->status &= (u8)~STATUS_ACTIVE;
    } else if (starts) {
        channel->status |= STATUS_ACTIVE;
        channel->entry = channel->table;
        channel->loaded = false;
    }
}

void ide_write_register(struct ide *ide, u32 reg, u8 value)
{
    struct ide_channel *channel = &ide->channels[reg / 8 % IDE_CHANNELS];
    u32 shift = 8 * (reg % 4);

    switch (reg % 8) {
    case 0:
        set_command(channel, value);
        break;
    case 2:
        channel->status &= (u8) ~(value & (STATUS_ERROR | STATUS_INTERRUPT));
        channel->status = (u8)((channel->status & ~STATUS_CAPABLE) | (value & STATUS_CAPABLE));
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        channel->table = (channel->table & ~(0xffU << shift)) | (u32)value << shift;
        channel->table &= ~3U;
        break;
    default:
        break;
    }
}

void ide_ask(struct ide *ide, u32 channel, const void *data, u32 len)
{
    struct ide_channel *c = &ide->channels[channel % IDE_CHANNELS];

    c->asked = len < IDE_TRANSFER_MAX ? len : IDE_TRANSFER_MAX;
    c->done = 0;
    memcpy(c->data, data, c->asked);
}

static void load_entry(struct ide *ide, struct ide_channel *channel)
{
    u8 entry[ENTRY_SIZE];

    ide->bus.read(ide->bus.ctx, channel->entry, entry, sizeof(entry));
    memcpy(&channel->address, entry, 4);
    channel->address &= ~1U;
    channel->left = (entry[4] | (u32)entry[5] << 8) & 0xfffe;
    if (channel->left == 0) {
        channel->left = 0x10000;
    }
    channel->last = entry[7] & 0x80;
    channel->loaded = true;
}

/* What of the transfer is in one page of memory. */
static u32 move(struct ide *ide, struct ide_channel *channel, u32 n)
{
    u8 page[PAGE];
    u32 part = PAGE - channel->address % PAGE;

    part = part < n ? part : n;
    part = part < channel->left ? part : channel->left;
    part = part < channel->asked - channel->done ? part : channel->asked - channel->done;
    if (channel->command & COMMAND_TO_MEMORY) {
        ide->bus.write(ide->bus.ctx, channel->address, channel->data + channel->done, part);
    } else {
        ide->bus.read(ide->bus.ctx, channel->address, page, part);
        for (u32 i = 0; i < part; i++) {
            channel->digest = (channel->digest ^ page[i]) * 0x100000001b3ULL;
        }
    }
    channel->address += part;
    channel->left -= part;
    channel->done += part;
    return part;
}

void ide_run(struct ide *ide, u32 channel, u32 n)
{
    struct ide_channel *c = &ide->channels[channel % IDE_CHANNELS];

    while (n > 0 && (c->status & STATUS_ACTIVE) && c->done < c->asked) {
        if (!c->loaded) {
            load_entry(ide, c);
        }
        n -= move(ide, c, n);
        if (c->left == 0 && c->last) {
            c->status &= (u8)~STATUS_ACTIVE;
        } else if (c->left == 0) {
            c->entry += ENTRY_SIZE;
            c->loaded = false;
        }
        if (c->done == c->asked) {
            c->status |= STATUS_INTERRUPT;
        }
    }
}
