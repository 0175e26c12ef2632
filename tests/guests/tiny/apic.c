/* Interrupts of the local APIC's timer, acknowledged by a memory-mapped write. */
#include "runtime.h"

#define INTERRUPTS    24
#define APIC_VECTOR   0x40
#define LAPIC_BASE    0xfee00000u
#define LAPIC_EOI     0xb0
#define LAPIC_SPURIOUS 0xf0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_INITIAL 0x380
#define LAPIC_CURRENT 0x390
#define LAPIC_DIVIDE  0x3e0
#define TIMER_PERIODIC (1u << 17)

static volatile u32 interrupts;
static u32 eips[INTERRUPTS], counts[INTERRUPTS], currents[INTERRUPTS];

static volatile u32 *lapic(u32 offset) {
    return (volatile u32 *)(LAPIC_BASE + offset);
}

static void on_timer(struct frame *frame) {
    if (interrupts < INTERRUPTS) {
        eips[interrupts] = frame->eip;
        currents[interrupts] = *lapic(LAPIC_CURRENT);
        counts[interrupts++] = frame->ecx;
    }
    *lapic(LAPIC_EOI) = 0;
}

static u32 spin(void) {
    u32 count = 0;
    __asm__ volatile("1: inc %0\n\t"
                     "cmpl %2, %1\n\t"
                     "jb 1b"
                     : "+c"(count)
                     : "m"(interrupts), "i"(INTERRUPTS)
                     : "cc", "memory");
    return count;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    set_handler(APIC_VECTOR, on_timer);
    *lapic(LAPIC_SPURIOUS) = 0x1ff;
    *lapic(LAPIC_DIVIDE) = 11; /* by 1 */
    *lapic(LAPIC_LVT_TIMER) = TIMER_PERIODIC | APIC_VECTOR;
    *lapic(LAPIC_INITIAL) = 50000;
    enable_interrupts();
    u32 count = spin();
    disable_interrupts();
    *lapic(LAPIC_INITIAL) = 0;
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u eip %x ecx %x current %x\n", i, eips[i], counts[i], currents[i]);
    print("apic count %u\n", count);
    end_triple_fault();
}
