/* Timers, signals and sleep: where they come is up to the interrupts alone. */
#include "stress.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

uint64_t stress_timers(unsigned rounds)
{
    struct timespec nap = {.tv_nsec = 1500000}, now;
    uint64_t hash = HASH_START, spins = 0;
    stress_alarms(700);
    for (unsigned round = 0; round < 10 * rounds; round++) {
        uint64_t seen = stress_alarm_count;
        while (stress_alarm_count == seen)
            spins++;
        if (round % 4 == 0)
            nanosleep(&nap, NULL);
        if (round % 8 == 0)
            kill(getpid(), SIGALRM);
        clock_gettime(CLOCK_MONOTONIC, &now);
        hash = stress_hash(hash, &now, sizeof(now));
        hash = stress_hash(hash, &spins, sizeof(spins));
    }
    stress_alarms(0);
    return stress_hash(hash, (const void *)&stress_alarm_places, sizeof(stress_alarm_places));
}
