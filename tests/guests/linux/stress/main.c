/* usage: stress NAME[,NAME...] [ROUNDS] */
#define _GNU_SOURCE
#include "stress.h"

#include "../common/fail.h"
#include "../common/mark.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

static const struct {
    const char *name;
    uint64_t (*run)(unsigned rounds);
} loads[] = {
    {"faults", stress_faults}, {"fork", stress_fork},       {"fpu", stress_fpu},
    {"rep", stress_rep},       {"selfmod", stress_selfmod}, {"switch", stress_switch},
    {"timers", stress_timers}, {"tsc", stress_tsc},
};

volatile uint64_t stress_alarm_count, stress_alarm_places;

uint64_t stress_hash(uint64_t hash, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

void *stress_map(size_t length, int shared)
{
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | (shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

static void on_alarm(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    uint64_t place = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    stress_alarm_count++;
    stress_alarm_places = stress_hash(stress_alarm_places, &place, sizeof(place));
}

void stress_alarms(unsigned microseconds)
{
    struct sigaction action = {.sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct itimerval timer = {.it_interval = {0, microseconds}, .it_value = {0, microseconds}};
    if (microseconds != 0 && sigaction(SIGALRM, &action, NULL) < 0)
        fail("sigaction");
    if (setitimer(ITIMER_REAL, &timer, NULL) < 0)
        fail("setitimer");
}

static int run(const char *name, unsigned rounds)
{
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        if (strcmp(loads[i].name, name) != 0)
            continue;
        mark(MARK_BEGIN);
        uint64_t number = loads[i].run(rounds);
        mark(MARK_END);
        printf("stress: %s %016llx\n", name, (unsigned long long)number);
        fflush(stdout);
        return 0;
    }
    printf("stress: there is no load %s\n", name);
    return 1;
}

int main(int argc, char **argv)
{
    int failed = 0;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    if (argc < 2 || rounds == 0) {
        fputs("usage: stress NAME[,NAME...] [ROUNDS]\n", stderr);
        return 2;
    }
    for (char *name = strtok(argv[1], ","); name != NULL; name = strtok(NULL, ","))
        failed |= run(name, rounds);
    return failed;
}
