/* Page faults, and page-table bits that the CPU sets: pages come, go and change their rights. */
#include "stress.h"

#include "../common/fail.h"

#include <signal.h>
#include <sys/mman.h>

#define PAGE  4096
#define PAGES 256

static volatile uint64_t faults;
static uint8_t *area;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1);
    if (mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE) < 0)
        _Exit(1);
    faults++;
}

uint64_t stress_faults(unsigned rounds)
{
    uint64_t hash = HASH_START;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSEGV, &action, NULL) < 0)
        fail("sigaction");
    area = stress_map(PAGES * PAGE, 0);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < PAGES; i++)
            area[i * PAGE + round % PAGE] += (uint8_t)(i + round);
        if (mprotect(area, PAGES / 2 * PAGE, PROT_READ) < 0)
            fail("mprotect");
        for (unsigned i = 0; i < PAGES / 2; i += 3)
            area[i * PAGE]++;
        if (madvise(area + PAGES / 2 * PAGE, PAGES / 4 * PAGE, MADV_DONTNEED) < 0)
            fail("madvise");
        hash = stress_hash(hash, area, PAGES * PAGE);
        hash = stress_hash(hash, (const void *)&faults, sizeof(faults));
    }
    munmap(area, PAGES * PAGE);
    signal(SIGSEGV, SIG_DFL);
    return hash;
}
