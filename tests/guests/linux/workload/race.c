#include "workload.h"

#include "../common/fail.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct race {
    volatile unsigned long shared;   /* incremented by load, add, store, without a lock */
    volatile unsigned long switches; /* how often the other one had run in between */
    volatile int last;
    volatile int winner; /* 0: none yet */
};

static void run_racer(struct race *race, int self, unsigned long steps)
{
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

void print_race(unsigned long steps)
{
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
