/* Answers ARP requests, ICMP echo requests and UDP datagrams to the echo port. */
#ifndef APPLIANCE_NET_H
#define APPLIANCE_NET_H

#include "pool.h"

#define NET_ADDRESS                                                                                \
    {                                                                                              \
        192, 168, 77, 2                                                                            \
    }

struct net_counters {
    u32 arp, icmp, udp; /* answered */
    u32 digest;         /* CRC-32 of all that was echoed, in order */
    u32 ignored;        /* for others, unknown, or with a wrong length or checksum */
};

struct net_counters net_counters(void);

/* Works on a frame, in its buffer. Returns whether it said `quit`: a UDP datagram to the discard
   port with this word. */
bool net_receive(struct buffer *frame);

#endif
