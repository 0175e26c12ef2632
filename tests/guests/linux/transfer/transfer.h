/* What ./lvmm bench measures of network and disk: each function marks its work's begin and end. */
#ifndef TRANSFER_H
#define TRANSFER_H

#include <stddef.h>

/* Receives `count` datagrams of tools/lvmm/netpeer.py's; every `acknowledged` of them, and the last
   one, are acknowledged. */
void transfer_udp(unsigned count, unsigned acknowledged);

/* Bytes from or to the server of tools/lvmm/bench/tcp_peer.py, over one connection. */
void transfer_tcp_in(unsigned long bytes);
void transfer_tcp_out(unsigned long bytes);

/* `count` blocks of `size` bytes at the begin of /dev/sda, past the page cache. */
void transfer_disk_read(unsigned count, size_t size);
void transfer_disk_write(unsigned count, size_t size);

#endif
