/* A busy loop with data-dependent branches; each timer interrupt notes exactly where it hit. */
#include "runtime.h"

#define INTERRUPTS 48

struct hit {
    u32 eip, count, state, eflags;
};

static struct hit hits[INTERRUPTS];
static volatile u32 interrupts;

static void on_timer(struct frame *frame) {
    if (interrupts < INTERRUPTS)
        hits[interrupts++] = (struct hit){frame->eip, frame->ecx, frame->eax, frame->eflags};
    acknowledge_timer();
}

/* EAX holds a linear congruential state, ECX counts the iterations: both are seen by the handler. */
static u32 spin(void) {
    u32 state = 1, count = 0;
    __asm__ volatile("1: imul $1664525, %0, %0\n\t"
                     "add $1013904223, %0\n\t"
                     "test $0x10000, %0\n\t"
                     "jz 2f\n\t"
                     "inc %1\n\t"
                     "2: test $0x20000, %0\n\t"
                     "jnz 3f\n\t"
                     "add $3, %1\n\t"
                     "3: cmpl %3, %2\n\t"
                     "jb 1b"
                     : "+a"(state), "+c"(count)
                     : "m"(interrupts), "i"(INTERRUPTS)
                     : "cc", "memory");
    return state ^ count;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(2000);
    enable_interrupts();
    u32 result = spin();
    disable_interrupts();
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u eip %x ecx %x eax %x eflags %x\n", i, hits[i].eip, hits[i].count, hits[i].state,
              hits[i].eflags);
    print("timer result %x\n", result);
    end_triple_fault();
}
