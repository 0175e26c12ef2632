/*
 * The DMA engine: the device works on shadow rings, lists and buffers, the guest's own are plain
 * memory that changes only at harvest points, where the change is logged.
 *
 * Used in record only. How the core calls it, with the vCPU stopped:
 *
 * - the guest writes a register: v = dma_on_register_write(d, reg, size, v, &forward); write v to
 *   the device if forward.
 * - the guest reads a register: read v from the device, THEN v = dma_on_register_read(d, reg, size,
 *   v). It harvests, so that all DMA that the value could tell of is visible.
 * - the same by port, where the profile has an I/O window: dma_on_port_write, dma_on_port_read.
 * - the guest read one of the profile's progress ports: dma_harvest(d), before it gets the value.
 * - an interrupt arrives: dma_harvest(d), before the interrupt is injected.
 * - from time to time while dma_outstanding(d): dma_harvest(d).
 *
 * Every one of these may call env.emit. Of rings, RX buffers are shadowed; TX buffers are read by
 * the device in place, so guest physical addresses of RAM must equal the device's addresses. Of a
 * channel's commands, all buffers are shadowed.
 */
#ifndef LVMM_DMA_DMA_H
#define LVMM_DMA_DMA_H

#include "dma/area.h"
#include "dma/profile.h"
#include "dma/schedule_state.h"
#include "lib/types.h"

/* What the engine needs of its surroundings; ctx is passed through. */
struct dma_env {
    void *ctx;
    /* Guest RAM, all of the range or nothing: 0, or ERR_FAULT outside RAM. len is never 0 and
     * gpa + len never wraps. */
    int (*guest_read)(void *ctx, u64 gpa, void *buf, u32 len);
    int (*guest_write)(void *ctx, u64 gpa, const void *buf, u32 len);
    /* For areas that drivers declare, and schedules: the content of a page of RAM, else NULL. */
    const void *(*guest_page)(void *ctx, u64 gpa);
    /* Log one DMA write; called right after the guest_write that succeeded. */
    void (*emit)(void *ctx, u8 stream, u64 gpa, const void *data, u32 len);
    u64 (*device_read)(void *ctx, u32 reg, u8 size);
    void (*device_write)(void *ctx, u32 reg, u8 size, u64 value);
    /* For people who look at the frames. The first `sent_max` bytes of each frame that the device
     * is given to send, in parts: `length` bytes of it, of which the first `len` are at `data`;
     * what follows one with len < length is without data. Negative: no more of this. */
    u32 sent_max;
    int (*sent)(void *ctx, u8 stream, u8 flags, u32 length, const void *data, u32 len);
    /* The device owns a buffer, to write to it, from here on; or the one at this address no more,
     * if it did. At any address. NULL: nobody wants to know. */
    void (*own)(void *ctx, u8 stream, u64 gpa, u32 len, bool owned);
};

/* sent's flags. */
#define DMA_SENT_FIRST     1 /* a frame begins with this part */
#define DMA_SENT_LAST      2 /* it ends with this part */
#define DMA_SENT_SEGMENTED 4 /* the device makes several packets of it */

#define DMA_SENT_PART 4096 /* bytes of data in a part at most */

/* Stream numbers; ring: index in the profile, where channels, lists and queues of commands count
 * on from the rings. Payload of a ring has several, so that each transfer says by itself what it is
 * of a frame. */
#define DMA_STREAMS_PER_RING            5
#define DMA_STREAM_DESCRIPTORS(ring)    ((u8)(DMA_STREAMS_PER_RING * (ring)))
#define DMA_STREAM_PAYLOAD(ring, flags) ((u8)(DMA_STREAMS_PER_RING * (ring) + 1 + (flags)))
/* What the device wrote in queues of a schedule, which is the device's only one: the transfers'
 * have the descriptors' stream. */
#define DMA_STREAM_ELEMENTS(index) DMA_STREAM_DESCRIPTORS((index) + 1)
#define DMA_PAYLOAD_CONTINUES      1 /* not of a frame's first descriptor */
#define DMA_PAYLOAD_CRC            2 /* frames are stored with their CRC */
#define DMA_PAYLOAD_FLAGS          3
#define DMA_DEVICE_STREAMS         (DMA_STREAMS_PER_RING * DMA_MAX_RINGS)

struct dma_stats {
    u64 doorbells;       /* commands started, of a channel; areas given to the device */
    u64 completed;       /* descriptors, commands, areas */
    u64 rx_packets;      /* by the end-of-packet bit */
    u64 rx_bytes;        /* payload copied to the guest */
    u64 tx_bytes;        /* of commands: payload copied for the device */
    u64 guest_faults;    /* reads and writes of guest addresses that are not RAM: dropped */
    u64 clamped_lengths; /* the device reported more than the shadow buffer holds */
    u64 refused_writes;  /* register writes that are nonsense or unsafe now: not forwarded */
};

/*
 * Indices are in [0, count). While the ring is enabled the device owns [next, posted) modulo count,
 * and each of these has been copied to the shadow ring. While it is disabled nothing is copied:
 * base, length, head and tail may come in any order, and count when the ring gets enabled.
 */
struct dma_ring {
    const struct dma_ring_profile *profile;
    u32 index;
    u64 guest_base; /* as written by the guest */
    u32 count;      /* 0: not set up, or refused */
    u32 next, posted;
    u32 tail; /* the register */
    bool enabled;
    bool programmed;      /* the device was given the shadow ring since its reset */
    u32 buffer_size;      /* RX: bytes */
    u32 buffer_size_bits; /* RX: the register's bits that say so */
    bool has_crc;         /* RX: frames are stored with their CRC */
    bool has_long_frames; /* RX: they may fill the whole buffer */
    bool in_frame;        /* the last descriptor was not a frame's last */
    u32 frame_kept;       /* TX: bytes of the frame that the environment was given */

    u8 *descriptors; /* shadow ring */
    u64 descriptors_phys;
    u64 *guest_buffers; /* RX: the guest's buffer address of each shadow descriptor */
    u8 *buffers;        /* RX: descriptor i's buffer is at i * buffer_size */
    u64 buffers_phys;
    u64 buffers_size;
};

/* One buffer of a command; `offset`: bytes in the image. */
struct dma_segment {
    u64 gpa;
    u32 offset, length;
};

/* The buffers of a command (dma/buffers.h). */
struct dma_buffers {
    const struct dma_list_profile *profile;
    u8 *list; /* for the device */
    u64 list_phys;
    u8 *image; /* what the device writes and reads */
    u64 image_phys;
    u8 *before; /* the image as the guest's memory is */
    u64 size;   /* bytes of both */
    struct dma_segment *segments;
    u32 count;
    bool to_memory;
    bool is_cut; /* the guest's list goes on */
};

/* A channel: running from the guest's start of a command until the device needs nothing more. */
struct dma_channel {
    const struct dma_channel_profile *profile;
    u32 index;      /* among all rings and channels of the device */
    u32 guest_list; /* the register, as written by the guest */
    u8 command;     /* likewise */
    bool running;
    struct dma_buffers buffers;
};

/* A list of commands in memory. */
struct dma_slots {
    const struct dma_slots_profile *profile;
    u32 index;                  /* among all rings, channels and lists of the device */
    u64 guest_base, guest_area; /* as written by the guest */
    bool started;
    u32 waiting; /* slots that the guest has issued, and the device has not been given yet */
    struct dma_buffers *commands[DMA_MAX_SLOTS]; /* of slots that the device works on */
    u8 *headers;
    u64 headers_phys;
    u8 *area, *area_before;
    u64 area_phys;
};

#define DMA_QUEUE_ENTRIES  64 /* of a shadow queue at most */
#define DMA_COMMAND_SIZE   64
#define DMA_MAX_IN_FLIGHT  (DMA_QUEUE_ENTRIES - 1)
#define DMA_MAX_NAMESPACES 16

/* A queue of commands. The guest's entries are taken one by one into the shadow, which has a length
 * of its own: the rest waits in the guest's memory. */
struct dma_submission {
    bool live;
    u32 completion; /* the queue of its completions */
    u64 guest_base;
    u32 guest_count, guest_head, guest_tail;
    u32 count, tail, in_flight; /* of the shadow */
    u8 *entries;
    u64 phys;
};

/* A queue of completions. */
struct dma_completion {
    bool live;
    u64 guest_base;
    u32 guest_count, guest_head, guest_tail;
    bool guest_phase;
    u32 count, head, in_flight; /* of the shadow; commands whose completion goes here */
    bool phase;
    u8 *entries;
    u64 phys;
};

/* A command that the device works on. */
struct dma_in_flight {
    bool used;
    u32 queue;
    u8 command[DMA_COMMAND_SIZE]; /* as the guest wrote it */
    struct dma_buffers *buffers;  /* NULL: it transfers no data */
};

struct dma_namespace {
    u32 id;    /* 0: none */
    u32 block; /* bytes; 0: the format is not supported */
};

struct dma_queues {
    const struct dma_queues_profile *profile;
    bool enabled;
    u32 admin_attributes; /* as written by the guest; likewise: */
    u64 admin_submission, admin_completion;
    u32 configuration;
    u32 entries_max; /* of a queue, by the device's capabilities */
    u32 stride;      /* bytes between doorbells */
    u32 turn;        /* the queue that is served first, next time */
    struct dma_submission submissions[DMA_MAX_QUEUES];
    struct dma_completion completions[DMA_MAX_QUEUES];
    struct dma_in_flight in_flight[DMA_MAX_IN_FLIGHT];
    struct dma_namespace namespaces[DMA_MAX_NAMESPACES];
    u32 next_namespace;
    u64 scratch_phys; /* a page for addresses that the device has no use for */
};

struct dma_device {
    const struct dma_profile *profile;
    struct dma_env env;
    struct dma_ring rings[DMA_MAX_RINGS];
    struct dma_channel channels[DMA_MAX_CHANNELS];
    struct dma_slots slots[DMA_MAX_CHANNELS];
    struct dma_queues queues;
    struct dma_schedule schedule;
    struct dma_buffers commands[DMA_MAX_COMMANDS]; /* of the lists and queues of commands */
    u32 command_count;
    u32 commands_used; /* a bit each */
    u32 io_register;   /* last value written to the I/O window's address port */
    struct dma_areas areas;
    const char *error;
    struct dma_stats stats;
    u8 piece[DMA_SENT_PART]; /* of a frame that is being told */
};

/*
 * The shadow area is memory that the guest cannot reach, physically contiguous, page-aligned; it
 * is zeroed here. It is divided once: for each ring room for max_count descriptors, then the rest
 * equally among the RX rings and the channels for their buffers. Touches no device.
 * Returns 0, ERR_INVALID (profile, or the area begins within a page), ERR_NO_SPACE: the area is
 * below dma_shadow_minimum(), or ERR_UNSUPPORTED: the device cannot address it.
 */
int dma_device_init(struct dma_device *device, const struct dma_profile *profile,
                    const struct dma_env *env, void *shadow_virt, u64 shadow_phys, u64 shadow_size);

/* The same for areas that drivers declare, of devices without a profile: the area's end is to be
 * below 4 GiB. */
int dma_areas_device_init(struct dma_device *device, const struct dma_env *env, void *shadow_virt,
                          u64 shadow_phys, u64 shadow_size);

/* Bytes of shadow area without which no ring could work; count * buffer size per RX ring is wanted
 * on top of it. */
u64 dma_shadow_minimum(const struct dma_profile *profile);

/* The numbers of all streams of such a device, each below DMA_DEVICE_STREAMS, into `numbers` with
 * room for so many; returns their count. `emit`, `sent` and `own` are called with no others. */
u32 dma_streams_of(const struct dma_profile *profile, u8 *numbers);

/* Before a register write is forwarded: the value to forward, if *forward. size: 1, 2, 4 or 8. */
u64 dma_on_register_write(struct dma_device *device, u32 reg, u8 size, u64 value, bool *forward);

/* After a register was read from the device: harvests, and returns what the guest sees. */
u64 dma_on_register_read(struct dma_device *device, u32 reg, u8 size, u64 value_from_device);

/* The same for an access at `port` bytes into the I/O BAR. Linux resets the 82540EM this way. */
u64 dma_on_port_write(struct dma_device *device, u16 port, u8 size, u64 value, bool *forward);
u64 dma_on_port_read(struct dma_device *device, u16 port, u8 size, u64 value_from_device);

/* Makes finished DMA visible to the guest, and logs it: for each descriptor the payload, then the
 * write-back. Returns the number of descriptors completed. */
int dma_harvest(struct dma_device *device);

/* Does the device own descriptors, carry out a command, or walk a schedule? */
bool dma_outstanding(const struct dma_device *device);

/* May the guest give the device work now without a register write? */
bool dma_finds_work(const struct dma_device *device);

/* Then looks for it; harvests before. To be called often. */
void dma_find_work(struct dma_device *device);

/* The device was reset: forget all rings. (The guest's own reset through a register is noticed.) */
void dma_reset(struct dma_device *device);

/* A text that says why this guest cannot be recorded faithfully ("rx ring too large ..."), once;
 * NULL when all is well. The ring in question stays without descriptors. */
const char *dma_take_error(struct dma_device *device);

#endif
