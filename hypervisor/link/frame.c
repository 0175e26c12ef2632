#include "link/frame.h"

#include "lib/crc32c.h"

#define DELIMITER 0
#define CODE_FULL 0xff /* a block of FRAME_BLOCK bytes, which no zero follows */

static void append(struct frame_receiver *receiver, u8 byte)
{
    if (receiver->size == sizeof(receiver->data))
        receiver->skipping = true;
    else
        receiver->data[receiver->size++] = byte;
}

/* What came since the last zero byte. */
static bool complete(const struct frame_receiver *receiver, struct frame *frame)
{
    u32 covered = receiver->size - FRAME_CRC_SIZE;
    const u8 *crc = receiver->data + covered;

    if (receiver->skipping || receiver->left != 0 ||
        receiver->size < FRAME_HEAD_SIZE + FRAME_CRC_SIZE)
        return false;
    frame->channel = receiver->data[0];
    frame->sequence = receiver->data[1];
    frame->crc = crc32c(0, receiver->data, covered);
    frame->payload = receiver->data + FRAME_HEAD_SIZE;
    frame->size = covered - FRAME_HEAD_SIZE;
    return frame->crc == (crc[0] | (u32)crc[1] << 8 | (u32)crc[2] << 16 | (u32)crc[3] << 24);
}

bool frame_receive(struct frame_receiver *receiver, u8 byte, struct frame *frame)
{
    if (byte == DELIMITER) {
        bool valid = complete(receiver, frame);

        receiver->size = 0;
        receiver->left = 0;
        receiver->zero_due = false;
        receiver->skipping = false;
        return valid;
    }
    if (receiver->skipping)
        return false;
    if (receiver->left != 0) {
        receiver->left--;
        append(receiver, byte);
        return false;
    }
    if (receiver->zero_due)
        append(receiver, 0);
    receiver->left = byte - 1;
    receiver->zero_due = byte != CODE_FULL;
    return false;
}

bool frame_receiving(const struct frame_receiver *receiver)
{
    return !receiver->skipping &&
           (receiver->size != 0 || receiver->left != 0 || receiver->zero_due);
}

static void put_block(struct frame_sender *sender)
{
    sender->put(sender->context, (u8)(sender->fill + 1));
    for (u32 i = 0; i < sender->fill; i++)
        sender->put(sender->context, sender->block[i]);
    sender->full = sender->fill == FRAME_BLOCK;
    sender->fill = 0;
}

static void put_bytes(struct frame_sender *sender, const u8 *bytes, size_t size)
{
    for (; size != 0; size--, bytes++) {
        if (*bytes == 0) {
            put_block(sender);
            sender->full = false;
            continue;
        }
        sender->block[sender->fill++] = *bytes;
        if (sender->fill == FRAME_BLOCK)
            put_block(sender);
    }
}

void frame_begin(struct frame_sender *sender, frame_put put, void *context, u8 channel, u8 sequence)
{
    const u8 head[FRAME_HEAD_SIZE] = {channel, sequence};

    sender->put = put;
    sender->context = context;
    sender->crc = 0;
    sender->fill = 0;
    sender->full = false;
    put(context, DELIMITER);
    frame_add(sender, head, sizeof(head));
}

void frame_add(struct frame_sender *sender, const void *payload, size_t size)
{
    sender->crc = crc32c(sender->crc, payload, size);
    put_bytes(sender, payload, size);
}

void frame_end(struct frame_sender *sender)
{
    const u32 crc = sender->crc;
    const u8 bytes[FRAME_CRC_SIZE] = {(u8)crc, (u8)(crc >> 8), (u8)(crc >> 16), (u8)(crc >> 24)};

    put_bytes(sender, bytes, sizeof(bytes));
    if (sender->fill != 0 || !sender->full)
        put_block(sender);
    sender->put(sender->context, DELIMITER);
}
