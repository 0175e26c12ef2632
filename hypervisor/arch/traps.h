/* The monitor's own interrupt descriptor table and task state (SDM vol. 3, chapters 6 and 7). */
#ifndef LVMM_ARCH_TRAPS_H
#define LVMM_ARCH_TRAPS_H

#include "lib/types.h"

#define MONITOR_CS  0x08
#define MONITOR_DS  0x10
#define MONITOR_TSS 0x18

struct trap_frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error, rip, cs, rflags, rsp, ss;
};

/* Loads GDT, IDT and TSS; NMI, #DF, #PF and #GP run on stacks of their own. */
void traps_init(void);

/* Addresses that the VMCS host state needs. */
u64 traps_gdt_base(void);
u64 traps_idt_base(void);
u64 traps_tss_base(void);

/* NMIs taken in the monitor itself so far (a counter overflow that arrived after the exit). */
u64 traps_nmi_count(void);
/* Where the last of them came. */
u64 traps_nmi_rip(void);

/* Takes the external interrupt that is pending at the CPU, as its acknowledgement: the vector, or
 * -1 when there is none after all. No EOI is sent. */
int traps_take_interrupt(void);

/* From now on interrupts of the local APIC with this vector are counted and acknowledged, when
 * RFLAGS.IF lets them come, by code that has no conditional branch. */
void traps_count_interrupts(u8 vector);
u64 traps_interrupts_counted(void);
void traps_stop_counting(void);

void trap_handler(struct trap_frame *frame);

#endif
