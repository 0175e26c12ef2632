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

/* Software-enables the APIC: without it no counter NMI is delivered. */
void lapic_enable(void);
/* Replay: no interrupt of the machine's is wanted. Masks the timer, the local pin of the 8259s and,
 * by the task priority, everything else; and the two 8259s, which do not ask the LAPIC. NMIs still
 * come. */
void lapic_quiesce(void);
/* Points the LVT performance-counter entry at NMI, unmasked. */
void lapic_unmask_counter_nmi(void);

#endif
