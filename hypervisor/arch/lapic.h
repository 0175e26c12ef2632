/* The little that the monitor itself needs of the local APIC (SDM vol. 3, chapter 10). */
#ifndef LVMM_ARCH_LAPIC_H
#define LVMM_ARCH_LAPIC_H

#include "lib/types.h"

#define LAPIC_BASE 0xfee00000ULL
#define LAPIC_SIZE PAGE_SIZE

#define LAPIC_TPR     0x80
#define LAPIC_SVR     0xf0
#define LAPIC_ICR_LOW 0x300
#define LAPIC_LVT_PC  0x340

/* What the functions below change, as the firmware left it for the guest. */
struct lapic_state {
    u32 task_priority, spurious, timer, timer_divide, timer_count, lint0, counter;
    u8 pic_masks[2];
};

void lapic_save(struct lapic_state *state);
/* A timer that was running starts its period anew. */
void lapic_restore(const struct lapic_state *state);

/* Software-enables the APIC: without it no counter NMI is delivered. */
void lapic_enable(void);
/* No interrupt of the machine's is wanted. Masks the timer, the local pin of the 8259s and, by the
 * task priority, everything else; and the two 8259s, which do not ask the LAPIC. NMIs still come.
 */
void lapic_quiesce(void);
/* While all is quiet: lets the timer interrupt at each `period` of its ticks. The vector is of the
 * highest class, from 0xf0 on. */
void lapic_start_timer(u8 vector, u32 period);
/* With interrupts enabled: comes back when the last one has been taken. */
void lapic_stop_timer(u8 vector);
/* That of the timer's interrupts, whether it runs or not. */
u8 lapic_timer_vector(void);
/* Points the LVT performance-counter entry at NMI, unmasked. */
void lapic_unmask_counter_nmi(void);

#endif
