/* Never ends: ticks until somebody stops it. */
#include "runtime.h"

static volatile u32 ticks;

static void on_timer(struct frame *frame) {
    (void)frame;
    ticks++;
    acknowledge_timer();
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(100);
    enable_interrupts();
    for (u32 shown = 0;;) {
        if (ticks - shown < 50)
            continue;
        shown = ticks;
        print("ticks %u tsc %X\n", shown, rdtsc());
    }
}
