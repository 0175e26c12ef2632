/* Computes for a long time without any input, and writes all over its data: for measurements. */
#include "runtime.h"

#define ROUNDS 80000000
#define PAGES  64
#define WORDS  1024

static volatile u32 data[PAGES][WORDS];
static volatile u32 untouched[WORDS] __attribute__((aligned(4096)));

void guest_main(u32 magic, u32 info) {
    u32 state = 1, odd = untouched[0];

    (void)magic;
    (void)info;
    for (u32 round = 0; round < ROUNDS; round++) {
        state = state * 1664525 + 1013904223;
        if (state & 0x10000)
            odd++;
        data[(state >> 16) % PAGES][(state >> 6) % WORDS] = state;
    }
    print("long %x %x\n", state, odd);
    end_triple_fault();
}
