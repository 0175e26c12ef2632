/* Datagrams in, and thrown away: nothing but the kernel's own work for them. The protocol is that of
   workload.c. */
#include "transfer.h"

#include "../mark.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define GUEST_PORT     7001
#define PEER_PORT      7000
#define PEER_ADDRESS   "192.168.77.1"
#define READY_RETRIES  50
#define READY_WAIT_S   1
#define QUIET_LIMIT_S  20
#define RECEIVE_BUFFER (1 << 20)

static void send_message(int fd, const char tag[4], uint32_t value)
{
    char message[8];
    uint32_t big_endian = htonl(value);
    memcpy(message, tag, 4);
    memcpy(message + 4, &big_endian, 4);
    if (send(fd, message, sizeof(message), 0) < 0)
        transfer_fail("send");
}

static void set_receive_timeout(int fd, int seconds)
{
    struct timeval timeout = {.tv_sec = seconds};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
        transfer_fail("SO_RCVTIMEO");
}

static int open_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = RECEIVE_BUFFER;
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(GUEST_PORT)};
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(PEER_PORT)};
    inet_pton(AF_INET, PEER_ADDRESS, &peer.sin_addr);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ||
        connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
        transfer_fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    return fd;
}

void transfer_udp(unsigned count, unsigned acknowledged)
{
    static uint8_t buffer[2048];
    int fd = open_socket();
    ssize_t length = -1;
    set_receive_timeout(fd, READY_WAIT_S);
    for (int i = 0; length < 0 && i < READY_RETRIES; i++) {
        send_message(fd, "RDY!", count);
        length = recv(fd, buffer, sizeof(buffer), 0);
    }
    mark(MARK_BEGIN);
    set_receive_timeout(fd, QUIET_LIMIT_S);
    for (unsigned received = 1; length >= 0; received++) {
        if (received % acknowledged == 0 || received == count)
            send_message(fd, "ACK!", received);
        if (received == count)
            break;
        length = recv(fd, buffer, sizeof(buffer), 0);
    }
    mark(MARK_END);
    if (length < 0)
        transfer_fail("a datagram is missing");
}
