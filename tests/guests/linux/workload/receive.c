#include "workload.h"

#include "../common/fail.h"
#include "../common/peer.h"
#include "../common/sha256.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACK_EVERY 8

struct totals {
    unsigned packets;
    unsigned out_of_order;
    unsigned long bytes;
};

static void append(int file, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, data, size);
        if (written < 0)
            fail("write");
        data += written;
        size -= (size_t)written;
    }
}

static void take(struct totals *totals, const uint8_t *datagram, ssize_t length)
{
    uint32_t sequence;
    if (length < (ssize_t)sizeof(sequence)) {
        printf("workload: datagram of %zd bytes is too short\n", length);
        exit(1);
    }
    memcpy(&sequence, datagram, sizeof(sequence));
    if (ntohl(sequence) != totals->packets)
        totals->out_of_order++;
    totals->packets++;
    totals->bytes += (unsigned long)length;
}

static void print_totals(const struct totals *totals, struct sha256 *hash)
{
    uint8_t digest[32];
    sha256_final(hash, digest);
    printf("lvmm: digest ");
    for (int i = 0; i < 32; i++)
        printf("%02x", digest[i]);
    printf(" packets %u bytes %lu out-of-order %u\n", totals->packets, totals->bytes,
           totals->out_of_order);
}

void receive_datagrams(unsigned count, const char *path)
{
    static uint8_t buffer[PEER_DATAGRAM_MAX];
    int file = path != NULL ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
    if (path != NULL && file < 0)
        fail(path);
    struct totals totals = {0};
    struct sha256 hash;
    sha256_init(&hash);
    int peer = peer_open();
    ssize_t length = peer_await_first(peer, count, buffer, sizeof(buffer));
    unsigned progress_step = count >= 1024 ? 512 : 64;
    for (;;) {
        take(&totals, buffer, length);
        sha256_update(&hash, buffer, (size_t)length);
        if (file >= 0)
            append(file, buffer, (size_t)length);
        if (totals.packets % ACK_EVERY == 0 || totals.packets == count)
            peer_acknowledge(peer, totals.packets);
        if (totals.packets % progress_step == 0)
            printf("lvmm: received %u of %u\n", totals.packets, count);
        if (totals.packets == count)
            break;
        length = peer_receive(peer, buffer, sizeof(buffer));
        if (length < 0) {
            printf("workload: quiet for %d s after %u of %u datagrams\n", PEER_QUIET_S,
                   totals.packets, count);
            exit(1);
        }
    }
    close(peer);
    print_totals(&totals, &hash);
}
