/* Datagrams in, and thrown away: nothing but the kernel's own work for them. Of a flood some are
 * still under way at the end; the next phase begins when they are gone. */
#include "transfer.h"

#include "../common/fail.h"
#include "../common/mark.h"
#include "../common/peer.h"

void transfer_udp(unsigned count, unsigned acknowledged)
{
    static uint8_t buffer[PEER_DATAGRAM_MAX];
    int peer = peer_open();
    ssize_t length = peer_await_first(peer, count, buffer, sizeof(buffer));
    mark(MARK_BEGIN);
    for (unsigned received = 1; length >= 0; received++) {
        if (received % acknowledged == 0 || received == count)
            peer_acknowledge(peer, received);
        if (received == count)
            break;
        length = peer_receive(peer, buffer, sizeof(buffer));
    }
    mark(MARK_END);
    if (length < 0)
        fail("a datagram is missing");
    peer_await_quiet(peer, buffer, sizeof(buffer));
}
