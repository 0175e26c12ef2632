/* Interrupts are off nearly always; they can only be taken right after the shadows of STI and of
   MOV SS, and after POPF. */
#include "runtime.h"

#define INTERRUPTS 24

static volatile u32 interrupts;
static u32 eips[INTERRUPTS], counts[INTERRUPTS];

static void on_timer(struct frame *frame) {
    if (interrupts < INTERRUPTS) {
        eips[interrupts] = frame->eip;
        counts[interrupts++] = frame->ecx;
    }
    acknowledge_timer();
}

static u32 spin(void) {
    u32 count = 0;
    __asm__ volatile("1: inc %0\n\t"
                     "sti\n\t"
                     "inc %0\n\t"
                     "cli\n\t"
                     "mov %%ss, %%eax\n\t"
                     "sti\n\t"
                     "mov %%eax, %%ss\n\t"
                     "nop\n\t"
                     "cli\n\t"
                     "pushf\n\t"
                     "orl $0x200, (%%esp)\n\t"
                     "popf\n\t"
                     "nop\n\t"
                     "cli\n\t"
                     "cmpl %2, %1\n\t"
                     "jb 1b"
                     : "+c"(count)
                     : "m"(interrupts), "i"(INTERRUPTS)
                     : "eax", "cc", "memory");
    return count;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(2000);
    u32 count = spin();
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u eip %x ecx %x\n", i, eips[i], counts[i]);
    print("shadow count %u\n", count);
    end_triple_fault();
}
