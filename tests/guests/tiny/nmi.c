/* An IRET out of an NMI's handler that exits to the monitor: it sets the accessed bit of its code
   segment, in a page that each epoch of a ring protects. The next NMI is there by then. It comes
   after the IRET, never in the handler. */
#include "runtime.h"

#define NMI_VECTOR    2
#define NMIS          40
#define IN_A_ROW      8 /* each handler asks for the next, so many times */
#define LAPIC_BASE    0xfee00000u
#define LAPIC_ID      0x20
#define ICR_LOW       0x300
#define ICR_HIGH      0x310
#define NMI           0x400u
#define TIMER_COUNTER 0x40
#define DESCRIPTORS   3
#define CODE_SEGMENT  1
#define ACCESSED      (1ULL << 40)
#define ENTRIES_BYTES (256 * 16 + 32) /* start.S: the entries, and what follows up to the IRET */

struct table_pointer {
    u16 limit;
    u32 base;
} __attribute__((packed));

extern char interrupt_entries[];

/* A page of its own: nothing else opens it to writes. */
static u64 descriptors[512] __attribute__((aligned(4096)));

static volatile u32 nmis, nested, accessed;

static void ask(void) {
    volatile u32 *id = (volatile u32 *)(LAPIC_BASE + LAPIC_ID);
    *(volatile u32 *)(LAPIC_BASE + ICR_HIGH) = *id; /* the shorthand "self" sends no NMI */
    *(volatile u32 *)(LAPIC_BASE + ICR_LOW) = NMI;
}

static void on_nmi(struct frame *frame) {
    nested += frame->eip - (u32)interrupt_entries < ENTRIES_BYTES;
    accessed += (descriptors[CODE_SEGMENT] & ACCESSED) != 0;
    if (++nmis % IN_A_ROW)
        ask();
    descriptors[CODE_SEGMENT] &= ~ACCESSED;
    (void)in8(TIMER_COUNTER); /* an event: an epoch begins, which protects the page again */
    (void)in8(TIMER_COUNTER);
}

void guest_main(u32 magic, u32 info) {
    struct table_pointer old, own = {DESCRIPTORS * 8 - 1, (u32)descriptors};
    (void)magic;
    (void)info;
    __asm__ volatile("sgdt %0" : "=m"(old));
    for (u32 i = 0; i < DESCRIPTORS; i++)
        descriptors[i] = ((const u64 *)old.base)[i];
    __asm__ volatile("lgdt %0" ::"m"(own));
    set_handler(NMI_VECTOR, on_nmi);
    while (nmis < NMIS) {
        u32 seen = nmis;
        ask();
        while (nmis == seen)
            (void)in8(TIMER_COUNTER);
    }
    print("nmis %u, nested %u, accessed %u\n", nmis, nested, accessed);
    end_reset();
}
