/* Processes that begin and end: page tables are made, shared, copied on write, and thrown away. */
#include "stress.h"

#include "../common/fail.h"

#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 8
#define BYTES    65536

uint64_t stress_fork(unsigned rounds)
{
    uint64_t hash = HASH_START;
    uint8_t *own = stress_map(BYTES, 0);
    uint64_t *results = stress_map(CHILDREN * sizeof(*results), 1);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned child = 0; child < CHILDREN; child++) {
            pid_t pid = fork();
            if (pid < 0)
                fail("fork");
            if (pid == 0) {
                for (size_t i = child; i < BYTES; i += 64)
                    own[i] += (uint8_t)(round + child);
                results[child] = stress_hash(HASH_START + (uint64_t)getpid(), own, BYTES);
                if (child == 0)
                    execl("/bin/busybox", "echo", "-n", (char *)NULL);
                _exit((int)child);
            }
        }
        for (int status, pid; (pid = wait(&status)) > 0;) {
            hash = stress_hash(hash, &pid, sizeof(pid)); /* the order in which they end */
            hash = stress_hash(hash, &status, sizeof(status));
        }
        hash = stress_hash(hash, results, CHILDREN * sizeof(*results));
        own[round % BYTES]++;
    }
    return hash;
}
