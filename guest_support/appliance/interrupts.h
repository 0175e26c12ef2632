/* The IDT, and the two 8259s. Handlers run with interrupts off. */
#ifndef APPLIANCE_INTERRUPTS_H
#define APPLIANCE_INTERRUPTS_H

#include "cpu.h"

/* As interrupt_common in entries.S leaves it on the stack. */
struct interrupt_frame {
    u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
    u32 vector, error;
    u32 eip, cs, eflags;
};

/* Loads the IDT, moves the 8259s' lines to vectors 0x20 to 0x2f, and masks them all. */
void interrupts_start(void);

/* Calls the handler at each interrupt of a level-triggered line, as those of PCI are. */
void interrupts_claim(u32 line, void (*handler)(void));

#endif
