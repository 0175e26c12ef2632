/* Vector (AVX where there is) and x87 registers, interrupted and switched between processes:
 * nothing of them is lost. */
#include "stress.h"

#include "../common/fail.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RACERS 2
#define STEPS  20000

typedef double lanes4 __attribute__((vector_size(32)));

struct sums {
    double scalar;
    lanes4 vector;
    long double x87;
    unsigned alarms;
};

__attribute__((target_clones("avx", "default"))) static void sum(struct sums *sums, unsigned rounds,
                                                                 int self)
{
    double scalar = 1.0 + self;
    long double x87 = 1.0L / (self + 3);
    lanes4 lanes = {1.0, 2.0, 3.0, 4.0 + self};
    stress_alarms(3000);
    for (unsigned long i = 0; i < (unsigned long)rounds * STEPS; i++) {
        scalar = scalar * 1.0000001 + 1e-9 * (double)i;
        x87 = x87 * 1.0000001L + 1e-12L;
        lanes = lanes * 0.999999 + scalar * 1e-6;
    }
    stress_alarms(0);
    memset(sums, 0, sizeof(*sums)); /* padding is hashed too */
    sums->scalar = scalar;
    sums->vector = lanes;
    memcpy(&sums->x87, &x87, 10);
    sums->alarms = (unsigned)stress_alarm_count;
}

uint64_t stress_fpu(unsigned rounds)
{
    struct sums *sums = stress_map(RACERS * sizeof(*sums), 1);
    for (int self = 0; self < RACERS; self++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            sum(&sums[self], rounds, self);
            _exit(0);
        }
    }
    while (wait(NULL) > 0) {
    }
    return stress_hash(HASH_START, sums, RACERS * sizeof(*sums));
}
