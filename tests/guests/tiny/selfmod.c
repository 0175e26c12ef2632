/* Rewrites the immediate of an instruction in a running loop, under timer interrupts which rewrite
   another one: a stale instruction or a misplaced interrupt changes the sum. */
#include "runtime.h"

#define INTERRUPTS 24

extern u8 patched_by_loop[], patched_by_handler[];

static volatile u32 interrupts;
static u32 eips[INTERRUPTS];

static void on_timer(struct frame *frame) {
    if (interrupts < INTERRUPTS) {
        eips[interrupts++] = frame->eip;
        *(volatile u32 *)(patched_by_handler + 1) = interrupts * 0x01010101u;
    }
    acknowledge_timer();
}

__attribute__((noinline)) static u32 spin(u32 *rounds) {
    u32 sum = 0, count = 0, value;
    __asm__ volatile("1: inc %1\n\t"
                     "mov %1, patched_by_loop + 1\n\t"
                     "jmp 2f\n"
                     "2:\n"
                     "patched_by_loop: mov $0, %%eax\n\t"
                     "add %%eax, %0\n"
                     "patched_by_handler: mov $0, %%eax\n\t"
                     "xor %%eax, %0\n\t"
                     "rol $1, %0\n\t"
                     "cmpl %4, %3\n\t"
                     "jb 1b"
                     : "+r"(sum), "+r"(count), "=&a"(value)
                     : "m"(interrupts), "i"(INTERRUPTS)
                     : "cc", "memory");
    *rounds = count;
    return sum;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(2000);
    enable_interrupts();
    u32 rounds;
    u32 sum = spin(&rounds);
    disable_interrupts();
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u eip %x\n", i, eips[i]);
    print("selfmod rounds %u sum %x\n", rounds, sum);
    end_triple_fault();
}
