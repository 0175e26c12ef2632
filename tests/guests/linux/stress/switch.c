/* Two processes that hand a byte to and fro: a context switch for each. */
#include "stress.h"

#include "../common/fail.h"

#include <sys/wait.h>
#include <unistd.h>

#define TURNS 500

uint64_t stress_switch(unsigned rounds)
{
    int there[2], back[2];
    uint8_t byte = 0;
    uint64_t hash = HASH_START;
    if (pipe(there) < 0 || pipe(back) < 0)
        fail("pipe");
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte = (uint8_t)(3 * byte + 1);
            if (write(back[1], &byte, 1) != 1)
                break;
        }
        _exit(0);
    }
    close(there[0]);
    for (unsigned i = 0; i < rounds * TURNS; i++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            fail("pipe");
        hash = stress_hash(hash, &byte, 1);
    }
    close(there[1]);
    close(back[0]);
    close(back[1]);
    waitpid(pid, NULL, 0);
    return hash;
}
