/*
 * The receiver of the datagrams that the peer (tools/lvmm/netpeer.py) sends. All numbers are
 * big-endian and have 32 bits:
 *   guest to peer   "RDY!" COUNT              ready, repeated until the first datagram arrives
 *   peer to guest   sequence number, random bytes
 *   guest to peer   "ACK!" RECEIVED           as often as the receiver likes, and after the last
 * one
 */
#ifndef PEER_H
#define PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The largest datagram is smaller. */
#define PEER_DATAGRAM_MAX 2048

/* A socket that is connected to the peer. */
int peer_open(void);

/* Says that the guest wants `count` datagrams until the first one has come; returns its length. */
ssize_t peer_await_first(int peer, unsigned count, void *buffer, size_t size);

/* The length of the next datagram; negative when none came for PEER_QUIET_S. */
ssize_t peer_receive(int peer, void *buffer, size_t size);
#define PEER_QUIET_S 20

/* Drops what comes until nothing has come for some time. */
void peer_await_quiet(int peer, void *buffer, size_t size);

/* Says how many datagrams have come. */
void peer_acknowledge(int peer, unsigned received);

#endif
