/*
 * What the recorded Linux does: receives UDP datagrams of random content, prints their digest, and
 * prints values that differ in every run, so that an identical replay means something.
 *
 * usage: workload PACKETS [RACE_STEPS [FILE]]
 *
 * With FILE what arrives is written there, too, in the order in which it arrives.
 */
#include "workload.h"

#include "../common/fail.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_RACE_STEPS 6000000

static void print_file(const char *path)
{
    char buffer[4096];
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        fail(path);
    ssize_t length;
    while ((length = read(fd, buffer, sizeof(buffer))) > 0)
        fwrite(buffer, 1, (size_t)length, stdout);
    close(fd);
}

static void print_labelled_file(const char *label, const char *path)
{
    printf("lvmm: %s ", label);
    fflush(stdout);
    print_file(path);
}

static void print_machine_randomness(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    printf("lvmm: tsc %llu\n", (unsigned long long)high << 32 | low);
    uint64_t value = 0;
    uint8_t valid = 0;
    for (int i = 0; i < 10 && !valid; i++)
        __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(valid)::"cc");
    printf("lvmm: rdrand %016llx\n", (unsigned long long)(valid ? value : 0));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: workload PACKETS [RACE_STEPS [FILE]]\n", stderr);
        return 2;
    }
    unsigned packets = (unsigned)strtoul(argv[1], NULL, 10);
    unsigned long race_steps = argc > 2 ? strtoul(argv[2], NULL, 10) : DEFAULT_RACE_STEPS;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (packets > 0)
        receive_datagrams(packets, argc > 3 ? argv[3] : NULL);
    print_machine_randomness();
    print_labelled_file("uuid", "/proc/sys/kernel/random/uuid");
    print_labelled_file("uuid", "/proc/sys/kernel/random/uuid");
    print_race(race_steps);
    print_file("/proc/interrupts");
    print_labelled_file("uptime", "/proc/uptime");
    fflush(stdout);
    return 0;
}
