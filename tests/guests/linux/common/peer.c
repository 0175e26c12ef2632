#include "peer.h"

#include "fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define GUEST_PORT     7001
#define PEER_PORT      7000
#define PEER_ADDRESS   "192.168.77.1"
#define READY_RETRIES  50
#define READY_WAIT_S   1
#define RECEIVE_BUFFER (1 << 20)
#define GAP_US         20000

static void send_message(int peer, const char tag[4], uint32_t value)
{
    char message[8];
    uint32_t big_endian = htonl(value);
    memcpy(message, tag, 4);
    memcpy(message + 4, &big_endian, 4);
    if (send(peer, message, sizeof(message), 0) < 0)
        fail("send");
}

static void set_receive_timeout(int peer, int seconds, int microseconds)
{
    struct timeval timeout = {.tv_sec = seconds, .tv_usec = microseconds};
    if (setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
        fail("SO_RCVTIMEO");
}

int peer_open(void)
{
    int peer = socket(AF_INET, SOCK_DGRAM, 0), size = RECEIVE_BUFFER;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(GUEST_PORT)};
    struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(PEER_PORT)};
    inet_pton(AF_INET, PEER_ADDRESS, &other.sin_addr);
    if (peer < 0)
        fail("socket");
    if (bind(peer, (struct sockaddr *)&own, sizeof(own)) < 0)
        fail("bind");
    if (connect(peer, (struct sockaddr *)&other, sizeof(other)) < 0)
        fail("connect");
    if (setsockopt(peer, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        fail("SO_RCVBUFFORCE");
    return peer;
}

ssize_t peer_await_first(int peer, unsigned count, void *buffer, size_t size)
{
    set_receive_timeout(peer, READY_WAIT_S, 0);
    for (int i = 0; i < READY_RETRIES; i++) {
        send_message(peer, "RDY!", count);
        ssize_t length = recv(peer, buffer, size, 0);
        if (length >= 0) {
            set_receive_timeout(peer, PEER_QUIET_S, 0);
            return length;
        }
    }
    errno = ETIMEDOUT;
    fail("no datagram from the peer");
}

ssize_t peer_receive(int peer, void *buffer, size_t size)
{
    return recv(peer, buffer, size, 0);
}

void peer_acknowledge(int peer, unsigned received)
{
    send_message(peer, "ACK!", received);
}

void peer_await_quiet(int peer, void *buffer, size_t size)
{
    set_receive_timeout(peer, 0, GAP_US);
    while (recv(peer, buffer, size, 0) >= 0)
        ;
}
