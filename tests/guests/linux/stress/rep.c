/* REP instructions that are interrupted between two of their iterations, by timers and by faults.
 */
#include "stress.h"

#include "../common/fail.h"

#include <sys/mman.h>

#define BYTES (1 << 20)

static void copy(uint8_t *to, const uint8_t *from, size_t count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void fill(uint8_t *to, uint8_t value, size_t count)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static size_t scan(const uint8_t *from, uint8_t value, size_t count)
{
    __asm__ volatile("repne scasb" : "+D"(from), "+c"(count) : "a"(value) : "memory", "cc");
    return count;
}

uint64_t stress_rep(unsigned rounds)
{
    uint64_t hash = HASH_START;
    uint8_t *from = stress_map(BYTES, 0), *to = stress_map(BYTES, 0);
    stress_alarms(1000);
    for (unsigned round = 0; round < rounds; round++) {
        fill(from, (uint8_t)(round + 1), BYTES);
        from[BYTES / 2 + round] = 0;
        if (madvise(to, BYTES, MADV_DONTNEED) < 0) /* so that each page faults */
            fail("madvise");
        copy(to, from, BYTES);
        size_t left = scan(to, 0, BYTES);
        hash = stress_hash(hash, &left, sizeof(left));
    }
    stress_alarms(0);
    hash = stress_hash(hash, (const void *)&stress_alarm_places, sizeof(stress_alarm_places));
    munmap(from, BYTES);
    munmap(to, BYTES);
    return hash;
}
