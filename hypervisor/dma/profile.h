/*
 * A device family described as data: which registers hold the rings and what a descriptor looks
 * like. tools/lvmm/profile_compiler.py generates tables of these from boards/profiles/<name>.toml;
 * docs/adding-a-device.md explains each key.
 */
#ifndef LVMM_DMA_PROFILE_H
#define LVMM_DMA_PROFILE_H

#include "lib/types.h"

#define DMA_MAX_RINGS           8
#define DMA_MAX_CHANNELS        8 /* with the rings: each has its streams */
#define DMA_MAX_SLOTS           32
#define DMA_MAX_COMMANDS        32 /* with a shadow at once */
#define DMA_MAX_QUEUES          8  /* of each kind, the admin queue with them */
#define DMA_MAX_DESCRIPTOR_SIZE 64

/* Bits of one byte of a descriptor. */
struct dma_bit {
    u8 offset;
    u8 mask; /* 0: the profile does not use it */
};

/* A little-endian number in a descriptor. */
struct dma_field {
    u8 offset;
    u8 width; /* bytes: 1, 2, 4 or 8 */
};

/* Bits of one 32-bit register. */
struct dma_register_bits {
    u32 reg;
    u32 mask; /* 0: the profile does not use it */
};

/* One row of "this register field means this buffer size". */
struct dma_buffer_size {
    u32 value; /* the register's bits under the rule's mask */
    u32 bytes;
};

/* Bits of a register that have this value while a ring works; else it has another format. */
struct dma_requirement {
    u32 reg, mask, value;
};

/* Registers, by the first's offset and their bytes. */
struct dma_range {
    u32 first, size;
};

/* One kind of transmit descriptor; a descriptor is of the first form that matches. */
struct dma_form {
    u32 mask; /* of the 32-bit word at dma_ring_profile.form_offset */
    u32 value;
    u32 length_mask;  /* of that same word: the bytes the device reads; 0: no buffer */
    u32 segment_mask; /* likewise: while a bit is set, several packets are made of the frame */
};

enum dma_direction {
    DMA_RX, /* the device writes the buffers: they are replaced by shadow buffers */
    DMA_TX, /* the device reads the buffers, in the guest's memory */
};

struct dma_ring_profile {
    const char *name;
    enum dma_direction direction;

    /* 32-bit registers. A base is two of them; head and tail count descriptors. */
    u32 base_lo, base_hi, length, head, tail;
    u32 base_align;  /* bytes: lower bits of base_lo are no part of the address */
    u32 length_mask; /* bits of the length register that are the ring's bytes */
    u32 max_count;   /* descriptors: reserved in the shadow area */
    struct dma_register_bits enable;
    bool head_tells_progress; /* may descriptors that report nothing be retired by the head? */

    u32 descriptor_size;
    struct dma_field address;
    struct dma_field payload_length; /* RX */
    struct dma_bit done;
    struct dma_bit report; /* descriptors without this bit are never written back */
    struct dma_bit end_of_packet;
    struct dma_field write_back;  /* any width: the bytes that the device changes */
    bool null_address_is_skipped; /* RX: no data is stored where the address is 0 */

    /* RX: buffer size, by a register's bits. */
    struct dma_register_bits buffer_size;
    const struct dma_buffer_size *buffer_sizes;
    u32 buffer_size_count;
    u32 buffer_size_max;
    u32 buffer_unit; /* instead of sizes: the bits count so many bytes; 0: of another rule */
    struct dma_register_bits strip_crc; /* RX: frames are stored without CRC while these are set */
    struct dma_register_bits long_frames; /* RX: while these are clear, no frame has more than */
    u32 short_frame_max;                  /* so many bytes */

    const struct dma_requirement *requirements;
    u32 requirement_count;

    /* TX: kinds of descriptors. */
    u32 form_offset;
    const struct dma_form *forms;
    u32 form_count;
};

/*
 * A list of buffers ("scatter-gather list", "PRD table"): entries of an address and a length, up to
 * one with a bit that says that it is the last, or as many as the command says.
 */
struct dma_list_profile {
    u32 prefix; /* bytes before the first entry, which the device reads as they are */
    u32 entry_size;
    struct dma_field address;
    u32 address_align;       /* bytes: lower bits of the address are not part of it */
    struct dma_field length; /* bytes: (field & length_mask) + length_add; 0: length_of_zero */
    u32 length_mask;
    u32 length_add;
    u32 length_of_zero;
    struct dma_bit last;
    u32 max_entries;
    u32 boundary; /* bytes: neither a buffer nor the list itself may cross a multiple; 0: none */
};

/*
 * A channel that carries out one command at a time (bus-master IDE): its list's address is in a
 * register, and bits of a byte-wide register start it. Registers are 8 bits wide but for `list`,
 * which has 32.
 */
struct dma_channel_profile {
    const char *name;
    u32 command, status, list;
    u8 start_mask;     /* of command: works while these are set */
    u8 to_memory_mask; /* of command: the device writes memory while these are set */
    u8 active_mask;    /* of status: the list is not used up */
    u8 finished_mask;  /* of status: the device is done; may be left from before */
    u32 list_align;    /* bytes: lower bits of `list` are not part of the address */
    struct dma_list_profile entries;
};

/*
 * A list of commands in memory (a port of AHCI): slots with a header each, that names a table with
 * the command and its list of buffers. A bit a slot in a 32-bit register issues a command, and is
 * cleared when it is done; a second register may keep the slot busy for longer. Beside payload the
 * device writes into the header, and messages into an area of their own.
 */
struct dma_slots_profile {
    const char *name;
    u32 base_lo, base_hi; /* registers: of the headers */
    u32 base_align;
    u32 area_lo, area_hi; /* registers: of the messages */
    u32 area_align;
    u32 area_size;                  /* bytes, a page at most */
    struct dma_register_bits start; /* no slot is busy while these are clear */
    u32 issue, busy;                /* registers */
    u32 slot_count;
    u32 header_size;
    struct dma_field table; /* of the header: the table's address */
    u32 table_align;
    struct dma_field entry_count;
    struct dma_bit from_memory; /* the device reads the buffers */
    struct dma_field write_back;
    u32 max_transfer; /* bytes of a command for which shadow memory is set aside */
    struct dma_list_profile entries;
};

/* A command of a queue transfers (count + add) * unit bytes. */
struct dma_command_profile {
    u8 opcode;
    struct dma_field count; /* of the command; width 0: none */
    u32 add;
    u32 unit; /* bytes; 0: blocks of the command's namespace */
};

/* A command by its opcode, and the byte that says what it is about. */
struct dma_command_selector {
    u8 opcode, selected;
};

/* What a command returns that the guest must not see: these bits are cleared. */
struct dma_reply_bits {
    struct dma_command_selector command;
    u32 offset;
    u32 mask; /* of the 32-bit word there */
};

/* Queues of commands with lists of pages (NVMe). All registers have 32 bits, or are two of them. */
struct dma_queues_profile {
    u32 capabilities, configuration;
    u32 admin_attributes, admin_submission, admin_completion;
    u32 doorbells;
    u32 max_transfer; /* bytes of a command for which shadow memory is set aside */
    struct dma_list_profile pages;
    const struct dma_command_profile *admin, *io; /* all that the device may be given */
    u32 admin_count, io_count;
    const struct dma_command_selector *refused; /* but not these */
    u32 refused_count;
    const struct dma_reply_bits *cleared;
    u32 cleared_count;
};

/*
 * A list of frames that the device walks by itself, one after the other (UHCI): links to transfers,
 * and to queues of them. Bits of a link say that it leads nowhere, or to a queue. The device writes
 * the status of a transfer, and a queue's link to its first transfer. Structures are of 32-bit
 * words. `command` and the registers with masks here are 16 bits wide, `list` has 32.
 */
struct dma_schedule_profile {
    const char *name;
    u32 list, list_align; /* bytes: lower bits of `list` are not part of the address */
    u32 list_count;       /* links in it, a page at most */
    u32 command;
    u32 start_mask, reset_mask;              /* of command */
    struct dma_register_bits halted;         /* set when the device has stopped */
    struct dma_register_bits frame;          /* counts frames */
    u32 link_none, link_queue, link_address; /* bits of a link */
    u32 transfer_size, queue_size;           /* bytes */
    u32 transfer_link, status, buffer;       /* words of a transfer */
    u32 active_mask;                         /* of status: the device has not done it yet */
    u32 length, length_mask, length_add;     /* word; its field and this, modulo, are the bytes */
    u32 kind, kind_mask, kind_to_memory;     /* word; the device writes the buffer of this kind */
    u32 queue_link, element;                 /* words of a queue */
    u32 max_items;                           /* for which shadow memory is set aside */
};

/* Ports whose reading tells of a channel's progress, beside its registers. */
struct dma_ports {
    u16 first, count;
};

/* What the guest sees of a register: some bits are always 0, others always 1. */
struct dma_register_view {
    u32 reg, clear, set;
};

/* A second address of registers, of `size` bytes. */
struct dma_alias {
    u32 alias;
    u32 reg;
    u32 size;
};

struct dma_profile {
    const char *name;
    u16 vendor;
    const u16 *devices;
    u32 device_count;
    u32 class_code;    /* of devices of any vendor; 0: none */
    u32 bar;           /* the BAR that holds the registers */
    bool ports;        /* it is an I/O BAR */
    u32 register_size; /* bytes of it, a power of two */
    struct dma_register_bits reset;
    const struct dma_range *closed; /* not described, and must not be written */
    u32 closed_count;
    const struct dma_range *hidden; /* are read as 0, and writes do not reach the device */
    u32 hidden_count;
    const struct dma_register_view *views;
    u32 view_count;
    const struct dma_alias *aliases;
    u32 alias_count;

    /* An I/O BAR with an address and a data port that reach the same registers. */
    bool has_io_window;
    u16 io_address, io_data; /* offsets in the I/O BAR */

    const struct dma_ring_profile *rings;
    u32 ring_count;

    const struct dma_channel_profile *channels;
    u32 channel_count;
    const struct dma_slots_profile *slots;
    u32 slots_count;
    const struct dma_queues_profile *queues;     /* NULL: none */
    const struct dma_schedule_profile *schedule; /* NULL: none */
    const struct dma_ports *progress_ports;
    u32 progress_port_count;
};

/* Generated; sorted by name. */
extern const struct dma_profile dma_profiles[];
extern const u32 dma_profile_count;

/* NULL when there is none. */
const struct dma_profile *dma_profile_by_name(const char *name);
const struct dma_profile *dma_profile_by_id(u16 vendor, u16 device, u32 class_code);

#endif
