/* The monitor's end of the debug link (docs/debug-link.md): it answers one request at a time, each
 * once, and says a few things unasked. It knows neither the serial line nor the guest. */
#ifndef LVMM_LINK_LINK_H
#define LVMM_LINK_LINK_H

#include "link/frame.h"

/* A request being answered, and its reply. */
struct link_exchange {
    const void *request; /* struct link_<name>_request, unaligned */
    const u8 *data;      /* what follows it: nothing, unless the request may have data */
    u32 data_size;       /* bytes */
    void *reply;         /* struct link_<name>_reply or the shared one, zeroed */
    u8 *reply_data;      /* room for data or text */
    u32 reply_room;      /* bytes: at least LINK_DATA_MAX */
    u32 reply_size;      /* bytes of data or text written; 0 at first */
};

/* Carries out a request; returns enum link_result. The reply's fields are sent with OK and FAULT
 * only; with any other result, what is in reply_data is text that says why. What must happen after
 * the reply is sent, like a reset, is the caller's of link_receive(). */
typedef u8 (*link_handler)(void *context, struct link_exchange *exchange);

struct link {
    const link_handler *handlers; /* by opcode, LINK_OPCODES of them; NULL: not supported */
    frame_put put;
    void *context; /* of handlers and put */
    struct frame_receiver receiver;
    bool session; /* a matching HELLO came */
    u64 nonce;    /* of the session */

    /* The last request of the session, and the reply to it, for the case that it comes again. */
    bool answered;
    u8 sequence;
    u32 crc;
    u8 reply_channel;
    u32 reply_size;
    u8 reply[LINK_PAYLOAD_MAX];

    /* Sequence numbers of what is sent unasked: they show the tools what was lost. */
    u8 message_sequence;
    u8 notify_sequence;
    bool line_open; /* the last text did not end its line */
};

/* The handler of HELLO fills in what the reply says about the monitor (state, mode, names); its
 * result does not matter. */
void link_init(struct link *link, const link_handler *handlers, frame_put put, void *context);

/* Takes a byte from the line. When it completes a request, this carries it out and sends the reply.
 * Returns whether a frame has begun: the caller had better wait for the rest of it, since a UART
 * keeps few bytes. */
bool link_receive(struct link *link, u8 byte);

/* Text for the user: in frames once there is a session, plain before. */
void link_message(struct link *link, const char *text, size_t size);

/* Tells the tools of a new status, if there is a session. */
void link_notify(struct link *link, const struct link_status *status);

/* Makes `text`, cut to the room there is, the reply's data. */
void link_reply_text(struct link_exchange *exchange, const char *text);

#endif
