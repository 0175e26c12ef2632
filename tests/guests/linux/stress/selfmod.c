/* Code that is written and run again and again, across the end of a page too. */
#include "stress.h"

#include "../common/fail.h"

#include <string.h>
#include <sys/mman.h>

#define PAGE 4096

/* mov $value, %eax; ret */
static void write_code(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, sizeof(value));
    at[5] = 0xc3;
}

uint64_t stress_selfmod(unsigned rounds)
{
    uint64_t hash = HASH_START;
    uint8_t *code = stress_map(2 * PAGE, 0);
    if (mprotect(code, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        fail("mprotect");
    stress_alarms(2000);
    for (unsigned i = 0; i < rounds * 500; i++) {
        uint8_t *at = code + PAGE - 6 + i % 7;
        uint32_t (*function)(void);
        write_code(at, i);
        memcpy(&function, &at, sizeof(at));
        uint32_t value = function();
        hash = stress_hash(hash, &value, sizeof(value));
    }
    stress_alarms(0);
    hash = stress_hash(hash, (const void *)&stress_alarm_places, sizeof(stress_alarm_places));
    munmap(code, 2 * PAGE);
    return hash;
}
