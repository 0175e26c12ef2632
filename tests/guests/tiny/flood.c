/* Asks for more random numbers than a small log holds, and prints what they come to. */
#include "runtime.h"

#define NUMBERS 24000

static u32 random_number(void) {
    u32 value;
    u8 valid;

    do
        __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=qm"(valid)::"cc");
    while (!valid);
    return value;
}

void guest_main(u32 magic, u32 info) {
    u32 digest = 0;

    (void)magic;
    (void)info;
    for (u32 i = 0; i < NUMBERS; i++) {
        digest = digest * 31 + random_number();
        if (i % (NUMBERS / 10) == 0)
            print("%u %x\n", i, digest);
    }
    print("digest %x\n", digest);
    end_reset();
}
