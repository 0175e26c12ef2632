/* One connection: eight bytes tell the server what is wanted, then all goes one way. */
#include "transfer.h"

#include "../common/fail.h"
#include "../common/mark.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVER_PORT    7002
#define SERVER_ADDRESS "192.168.77.3"
#define CHUNK          65536

static uint8_t buffer[CHUNK];

/* Asks for "SEND" or "TAKE", so many bytes. */
static int ask(const char verb[4], unsigned long bytes)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(SERVER_PORT)};
    uint8_t request[8];
    uint32_t big_endian = htonl((uint32_t)bytes);
    inet_pton(AF_INET, SERVER_ADDRESS, &server.sin_addr);
    memcpy(request, verb, 4);
    memcpy(request + 4, &big_endian, 4);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
        fail("connect");
    mark(MARK_BEGIN);
    if (write(fd, request, sizeof(request)) != sizeof(request))
        fail("write");
    return fd;
}

void transfer_tcp_in(unsigned long bytes)
{
    int fd = ask("SEND", bytes);
    while (bytes > 0) {
        ssize_t length = read(fd, buffer, CHUNK);
        if (length <= 0)
            fail("the connection has ended");
        bytes -= (unsigned long)length;
    }
    mark(MARK_END);
    close(fd);
}

/* The end is when the server has said that all is there. */
void transfer_tcp_out(unsigned long bytes)
{
    int fd = ask("TAKE", bytes);
    while (bytes > 0) {
        ssize_t length = write(fd, buffer, bytes < CHUNK ? bytes : CHUNK);
        if (length < 0)
            fail("write");
        bytes -= (unsigned long)length;
    }
    if (read(fd, buffer, 1) != 1)
        fail("no answer");
    mark(MARK_END);
    close(fd);
}
