/* The smallest guest: one line that differs in every run. */
#include "runtime.h"

void guest_main(u32 magic, u32 info) {
    (void)info;
    print("hello from a guest, multiboot magic %x, tsc %X\n", magic, rdtsc());
}
