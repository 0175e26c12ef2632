/* Frames of the debug link (docs/debug-link.md): a zero byte, the COBS coding of channel, sequence
 * number, payload and CRC-32C, a zero byte. What lies between frames is no concern of theirs. */
#ifndef LVMM_LINK_FRAME_H
#define LVMM_LINK_FRAME_H

#include "link_layout.h"

#define FRAME_HEAD_SIZE 2 /* channel and sequence number */
#define FRAME_CRC_SIZE  4
#define FRAME_SIZE_MAX  (FRAME_HEAD_SIZE + LINK_PAYLOAD_MAX + FRAME_CRC_SIZE)
#define FRAME_BLOCK     254 /* most bytes that one COBS code byte counts */

/* A received frame; `payload` points into its receiver. */
struct frame {
    u8 channel;
    u8 sequence;
    u32 crc; /* of channel, sequence number and payload */
    const u8 *payload;
    u32 size; /* bytes of the payload */
};

/* Zeroed, it is ready. */
struct frame_receiver {
    u8 data[FRAME_SIZE_MAX];
    u32 size;
    u8 left;       /* bytes to come of the current COBS block */
    bool zero_due; /* a zero stands between this block and the next */
    bool skipping; /* this is no frame: wait for the next zero byte */
};

/* Takes one byte. True when it completes a valid frame, which lasts until the next byte. */
bool frame_receive(struct frame_receiver *receiver, u8 byte, struct frame *frame);

/* Whether a frame has begun and is not complete. */
bool frame_receiving(const struct frame_receiver *receiver);

typedef void (*frame_put)(void *context, u8 byte);

/* A frame on its way out, which needs no buffer of the frame's size. */
struct frame_sender {
    frame_put put;
    void *context;
    u32 crc;
    u8 fill;
    bool full; /* the last block had FRAME_BLOCK bytes: no zero follows it */
    u8 block[FRAME_BLOCK];
};

void frame_begin(struct frame_sender *sender, frame_put put, void *context, u8 channel,
                 u8 sequence);
/* At most LINK_PAYLOAD_MAX bytes in all. */
void frame_add(struct frame_sender *sender, const void *payload, size_t size);
void frame_end(struct frame_sender *sender);

#endif
