/* Works for seconds with interrupts disabled, polling a device, then hangs: cli; jmp. */
#include "runtime.h"

#define TIMER_COUNTER 0x40
#define POLLS         1000
#define DELAY_LOOPS   100000 /* 4 ms at the emulated board's 50 MHz */

__attribute__((noipa)) static void hang(void) {
    __asm__ volatile("1: jmp 1b");
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    disable_interrupts();
    for (u32 i = 0; i < POLLS; i++) {
        u32 loops = DELAY_LOOPS;
        __asm__ volatile("1: dec %0; jnz 1b" : "+r"(loops)::"cc");
        in8(TIMER_COUNTER);
    }
    print("hanging\n");
    hang();
    print("unexpected: back\n");
}
