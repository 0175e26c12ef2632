/* Driver of the 82540EM. Interrupts bring frames in; nothing is polled. */
#ifndef APPLIANCE_E1000_H
#define APPLIANCE_E1000_H

#include "pool.h"

#define MAC_BYTES       6
#define FRAME_MAX_BYTES 1514 /* without the frame check sequence */

struct e1000_counters {
    u32 interrupts, received, sent;
    u32 damaged; /* with errors, or longer than a buffer */
    u32 dropped; /* no free buffer, or no free descriptor */
    u32 foreseen;
};

/* Finds the card and starts it; returns its interrupt line. Panics without a card. An `impatient`
   driver looks at the next frame before the card has said that it is done: the bug that
   docs/early-reads.md finds. */
u32 e1000_start(bool impatient);

const u8 *e1000_mac(void);
struct e1000_counters e1000_counters(void);

/* The next received frame, or 0. The caller puts the buffer back into the pool. */
struct buffer *e1000_receive(void);

/* Sends a copy of the frame; waits while the ring is full. Not for interrupt handlers. */
void e1000_send(const u8 *frame, u32 length);

#endif
