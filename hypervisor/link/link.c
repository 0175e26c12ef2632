#include "link/link.h"

#include "lib/string.h"

static void put_frame(struct link *link, u8 channel, u8 sequence, const void *payload, size_t size)
{
    struct frame_sender sender;

    frame_begin(&sender, link->put, link->context, channel, sequence);
    frame_add(&sender, payload, size);
    frame_end(&sender);
}

/* A reply has its request's sequence number. */
static void put_reply(struct link *link, u8 channel, u8 sequence, const void *payload, size_t size)
{
    put_frame(link, channel | LINK_REPLY_FLAG, sequence, payload, size);
}

void link_init(struct link *link, const link_handler *handlers, frame_put put, void *context)
{
    memset(link, 0, sizeof(*link));
    link->handlers = handlers;
    link->put = put;
    link->context = context;
}

/* HELLO is not kept as the last request: to answer it twice does no harm, as long as the second one
 * does not start the session again. */
static void answer_hello(struct link *link, const struct frame *frame)
{
    u8 payload[1 + sizeof(struct link_hello_reply)] = {LINK_RESULT_BAD_REQUEST};
    struct link_hello_reply reply = {.magic = LINK_MAGIC};
    struct link_hello_request request;
    struct link_exchange exchange = {.request = &request, .reply = &reply};

    if (frame->size < 1 + sizeof(request)) {
        put_reply(link, frame->channel, frame->sequence, payload, 1);
        return;
    }
    memcpy(&request, frame->payload + 1, sizeof(request));
    if (link->handlers[LINK_OPCODE_HELLO] != NULL)
        link->handlers[LINK_OPCODE_HELLO](link->context, &exchange);
    reply.magic = LINK_MAGIC;
    reply.version = LINK_PROTOCOL_VERSION;
    reply.layout = LINK_LAYOUT_DIGEST;
    reply.nonce = request.nonce;
    if (request.magic == LINK_MAGIC) {
        bool matches =
            request.version == LINK_PROTOCOL_VERSION && request.layout == LINK_LAYOUT_DIGEST;

        payload[0] = matches ? LINK_RESULT_OK : LINK_RESULT_REFUSED;
        if (matches && !(link->session && link->nonce == request.nonce)) {
            link->session = true;
            link->nonce = request.nonce;
            link->answered = false;
            link->sequence = LINK_FIRST_SEQUENCE - 1;
        }
    }
    memcpy(payload + 1, &reply, sizeof(reply));
    put_reply(link, frame->channel, frame->sequence, payload, sizeof(payload));
}

/* Whether the frame is one that the opcode's handler understands. */
static u8 check_request(const struct link *link, const struct frame *frame, u8 opcode)
{
    const struct link_shape *shape = &link_shapes[opcode];
    u32 fields = 1U + shape->request_size;

    if (frame->size == 0)
        return LINK_RESULT_BAD_REQUEST;
    if (opcode == 0 || link->handlers[opcode] == NULL)
        return LINK_RESULT_UNSUPPORTED;
    if (frame->channel != shape->channel || frame->size < fields ||
        frame->size - fields > (shape->request_data ? LINK_DATA_MAX : 0))
        return LINK_RESULT_BAD_REQUEST;
    return LINK_RESULT_OK;
}

static void carry_out(struct link *link, const struct frame *frame, u8 opcode)
{
    const struct link_shape *shape = &link_shapes[opcode];
    struct link_exchange exchange = {
        .request = frame->payload + 1,
        .data = frame->payload + 1 + shape->request_size,
        .reply = link->reply + 1,
        .reply_data = link->reply + 1 + shape->reply_size,
        .reply_room = LINK_PAYLOAD_MAX - 1 - shape->reply_size,
    };
    u8 result = check_request(link, frame, opcode);
    u32 size = 0;

    if (result == LINK_RESULT_OK) {
        exchange.data_size = frame->size - 1 - shape->request_size;
        memset(exchange.reply, 0, shape->reply_size);
        result = link->handlers[opcode](link->context, &exchange);
        size =
            exchange.reply_size < exchange.reply_room ? exchange.reply_size : exchange.reply_room;
        if (result == LINK_RESULT_OK || result == LINK_RESULT_FAULT)
            size += shape->reply_size;
        else
            memmove(link->reply + 1, exchange.reply_data, size);
    }
    link->reply[0] = result;
    link->reply_size = 1 + size;
    link->reply_channel = frame->channel;
}

static void take_frame(struct link *link, const struct frame *frame)
{
    u8 opcode = frame->size != 0 && frame->payload[0] < LINK_OPCODES ? frame->payload[0] : 0;

    /* Not a request: an echo of what the monitor said, perhaps. */
    if (frame->channel < LINK_CHANNEL_CONTROL || frame->channel > LINK_CHANNEL_MEMORY)
        return;
    if (frame->channel == LINK_CHANNEL_CONTROL && opcode == LINK_OPCODE_HELLO) {
        answer_hello(link, frame);
        return;
    }
    if (!link->answered || frame->sequence != link->sequence || frame->crc != link->crc) {
        if (!link->session || frame->sequence != (u8)(link->sequence + 1)) {
            const u8 result = LINK_RESULT_NO_SESSION;

            put_reply(link, frame->channel, frame->sequence, &result, sizeof(result));
            return;
        }
        link->answered = true;
        link->sequence = frame->sequence;
        link->crc = frame->crc;
        carry_out(link, frame, opcode);
    }
    put_reply(link, link->reply_channel, link->sequence, link->reply, link->reply_size);
}

bool link_receive(struct link *link, u8 byte)
{
    struct frame frame;

    if (frame_receive(&link->receiver, byte, &frame))
        take_frame(link, &frame);
    return frame_receiving(&link->receiver);
}

static void put_message(struct link *link, const char *text, size_t size)
{
    const struct link_message head = {.continues = link->line_open};
    struct frame_sender sender;

    frame_begin(&sender, link->put, link->context, LINK_CHANNEL_MESSAGE, link->message_sequence++);
    frame_add(&sender, &head, sizeof(head));
    frame_add(&sender, text, size);
    frame_end(&sender);
    link->line_open = text[size - 1] != '\n';
}

void link_message(struct link *link, const char *text, size_t size)
{
    if (link->session) {
        while (size != 0) {
            size_t part = size < LINK_DATA_MAX ? size : LINK_DATA_MAX;

            put_message(link, text, part);
            text += part;
            size -= part;
        }
        return;
    }
    for (; size != 0; size--, text++) {
        if (*text == '\n')
            link->put(link->context, '\r');
        link->put(link->context, (u8)*text);
    }
}

void link_notify(struct link *link, const struct link_status *status)
{
    if (link->session)
        put_frame(link, LINK_CHANNEL_NOTIFY, link->notify_sequence++, status, sizeof(*status));
}

void link_reply_text(struct link_exchange *exchange, const char *text)
{
    size_t size = strlen(text);

    exchange->reply_size = size < exchange->reply_room ? (u32)size : exchange->reply_room;
    memcpy(exchange->reply_data, text, exchange->reply_size);
}
