/* Sleeps in HLT between timer ticks, with and without the interrupt shadow of STI before it. */
#include "runtime.h"

#define TICKS 32

static volatile u32 ticks;
static u64 when[TICKS];

static void on_timer(struct frame *frame) {
    (void)frame;
    if (ticks < TICKS)
        when[ticks++] = rdtsc();
    acknowledge_timer();
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(200);
    u32 wakes = 0;
    while (ticks < TICKS / 2) {
        __asm__ volatile("sti; hlt; cli" ::: "memory");
        wakes++;
    }
    enable_interrupts();
    while (ticks < TICKS) {
        halt();
        wakes++;
    }
    disable_interrupts();
    for (u32 i = 0; i < TICKS; i++)
        print("%u tsc %X\n", i, when[i]);
    print("idle wakes %u\n", wakes);
}
