/*
 * What the recorded Linux does: receives UDP datagrams of random content, prints their digest, and
 * prints values that differ in every run, so that an identical replay means something.
 *
 * usage: workload PACKETS [RACE_STEPS [FILE]]
 *
 * With FILE what arrives is written there, too, in the order in which it arrives.
 *
 * Protocol with the peer (tools/lvmm/netpeer.py), all numbers big-endian 32-bit:
 *   guest to peer   "RDY!" PACKETS            ready, repeated until the first datagram arrives
 *   peer to guest   sequence number, random bytes
 *   guest to peer   "ACK!" count              every ACK_EVERY datagrams, and after the last one
 */
#include "sha256.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_PORT    7001
#define PEER_PORT     7000
#define PEER_ADDRESS  "192.168.77.1"
#define ACK_EVERY     8
#define READY_RETRIES 50
#define READY_WAIT_S  1
#define QUIET_LIMIT_S 20
#define RECEIVE_BUFFER (1 << 20)
#define DEFAULT_RACE_STEPS 6000000

struct totals {
    unsigned packets;
    unsigned out_of_order;
    unsigned long bytes;
    char digest[65];
};

static void fail(const char *what) {
    printf("workload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_message(int fd, const char tag[4], uint32_t value) {
    char message[8];
    uint32_t big_endian = htonl(value);
    memcpy(message, tag, 4);
    memcpy(message + 4, &big_endian, 4);
    if (send(fd, message, sizeof(message), 0) < 0)
        fail("send");
}

static void set_receive_timeout(int fd, int seconds) {
    struct timeval timeout = {.tv_sec = seconds};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
        fail("SO_RCVTIMEO");
}

static int open_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        fail("socket");
    int size = RECEIVE_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(GUEST_PORT)};
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(PEER_PORT)};
    inet_pton(AF_INET, PEER_ADDRESS, &peer.sin_addr);
    if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0)
        fail("bind");
    if (connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
        fail("connect");
    return fd;
}

/* Announces the guest until the peer starts; returns the length of the first datagram. */
static ssize_t await_first(int fd, unsigned packets, void *buffer, size_t size) {
    set_receive_timeout(fd, READY_WAIT_S);
    for (int i = 0; i < READY_RETRIES; i++) {
        send_message(fd, "RDY!", packets);
        ssize_t length = recv(fd, buffer, size, 0);
        if (length >= 0)
            return length;
    }
    errno = ETIMEDOUT;
    fail("no datagram from the peer");
    return -1;
}

static void append(int file, const uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t written = write(file, data, size);
        if (written < 0)
            fail("write");
        data += written;
        size -= (size_t)written;
    }
}

/* Into the file, too, unless it is negative. */
static struct totals receive_all(unsigned packets, int file) {
    static uint8_t buffer[2048];
    struct totals totals = {0};
    struct sha256 hash;
    sha256_init(&hash);
    int fd = open_socket();
    ssize_t length = await_first(fd, packets, buffer, sizeof(buffer));
    set_receive_timeout(fd, QUIET_LIMIT_S);
    unsigned progress_step = packets >= 1024 ? 512 : 64;
    for (;;) {
        uint32_t sequence;
        if (length < (ssize_t)sizeof(sequence)) {
            printf("workload: datagram of %zd bytes is too short\n", length);
            exit(1);
        }
        memcpy(&sequence, buffer, sizeof(sequence));
        if (ntohl(sequence) != totals.packets)
            totals.out_of_order++;
        sha256_update(&hash, buffer, (size_t)length);
        if (file >= 0)
            append(file, buffer, (size_t)length);
        totals.packets++;
        totals.bytes += (unsigned long)length;
        if (totals.packets % ACK_EVERY == 0 || totals.packets == packets)
            send_message(fd, "ACK!", totals.packets);
        if (totals.packets % progress_step == 0)
            printf("lvmm: received %u of %u\n", totals.packets, packets);
        if (totals.packets == packets)
            break;
        length = recv(fd, buffer, sizeof(buffer), 0);
        if (length < 0) {
            printf("workload: quiet for %d s after %u of %u datagrams\n", QUIET_LIMIT_S,
                   totals.packets, packets);
            exit(1);
        }
    }
    close(fd);
    uint8_t digest[32];
    sha256_final(&hash, digest);
    for (int i = 0; i < 32; i++)
        sprintf(totals.digest + 2 * i, "%02x", digest[i]);
    return totals;
}

struct race {
    volatile unsigned long shared;   /* incremented by load, add, store, without a lock */
    volatile unsigned long switches; /* how often the other one had run in between */
    volatile int last;
    volatile int winner; /* 0: none yet */
};

static void run_racer(struct race *race, int self, unsigned long steps) {
    for (unsigned long i = 1; i <= steps; i++) {
        if (race->last != self) {
            race->last = self;
            race->switches++;
        }
        unsigned long value = race->shared;
        __asm__ volatile("pause");
        race->shared = value + 1;
    }
    if (race->winner == 0)
        race->winner = self;
    _exit(0);
}

/* Two processes race for a counter; who wins and what gets lost is up to the timer interrupts. */
static void print_race(unsigned long steps) {
    struct race *race =
        mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (race == MAP_FAILED)
        fail("mmap");
    for (int self = 1; self <= 2; self++) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0)
            run_racer(race, self, steps);
    }
    while (wait(NULL) > 0) {
    }
    printf("lvmm: race winner %d switches %lu lost %lu\n", race->winner, race->switches,
           2 * steps - race->shared);
}

static void print_file(const char *path) {
    char buffer[4096];
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        fail(path);
    ssize_t length;
    while ((length = read(fd, buffer, sizeof(buffer))) > 0)
        fwrite(buffer, 1, (size_t)length, stdout);
    close(fd);
}

static void print_machine_randomness(void) {
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    printf("lvmm: tsc %llu\n", (unsigned long long)high << 32 | low);
    uint64_t value = 0;
    uint8_t valid = 0;
    for (int i = 0; i < 10 && !valid; i++)
        __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(valid)::"cc");
    printf("lvmm: rdrand %016llx\n", (unsigned long long)(valid ? value : 0));
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: workload PACKETS [RACE_STEPS [FILE]]\n", stderr);
        return 2;
    }
    unsigned packets = (unsigned)strtoul(argv[1], NULL, 10);
    unsigned long race_steps = argc > 2 ? strtoul(argv[2], NULL, 10) : DEFAULT_RACE_STEPS;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (packets > 0) {
        int file = argc > 3 ? open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
        if (argc > 3 && file < 0)
            fail(argv[3]);
        struct totals totals = receive_all(packets, file);
        printf("lvmm: digest %s packets %u bytes %lu out-of-order %u\n", totals.digest,
               totals.packets, totals.bytes, totals.out_of_order);
    }
    print_machine_randomness();
    printf("lvmm: uuid ");
    fflush(stdout);
    print_file("/proc/sys/kernel/random/uuid");
    printf("lvmm: uuid ");
    fflush(stdout);
    print_file("/proc/sys/kernel/random/uuid");
    print_race(race_steps);
    print_file("/proc/interrupts");
    printf("lvmm: uptime ");
    fflush(stdout);
    print_file("/proc/uptime");
    fflush(stdout);
    return 0;
}
