/* The time-stamp counter, read as often as can be. */
#include "stress.h"

#include <time.h>

#define READINGS 3000

static uint64_t read_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

uint64_t stress_tsc(unsigned rounds)
{
    uint64_t hash = HASH_START, last = read_tsc();
    struct timespec now;
    for (unsigned i = 0; i < rounds * READINGS; i++) {
        uint64_t tsc = read_tsc();
        if (tsc < last)
            return 0; /* it went back */
        last = tsc;
        hash = stress_hash(hash, &tsc, sizeof(tsc));
        if (i % 16 == 0 && clock_gettime(CLOCK_REALTIME, &now) == 0)
            hash = stress_hash(hash, &now, sizeof(now));
    }
    return hash;
}
