#include "arch/lapic.h"
#include "arch/cpu.h"

#define SVR_ENABLE BIT(8)
#define SVR_VECTOR 0xff
#define LVT_NMI    0x400
#define LVT_MASKED 0x10000

#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1

static volatile u32 *lapic_register(u32 offset)
{
    return (volatile u32 *)(LAPIC_BASE + offset);
}

void lapic_enable(void)
{
    *lapic_register(LAPIC_SVR) = SVR_ENABLE | SVR_VECTOR;
}

void lapic_quiesce(void)
{
    outb(PIC_MASTER_MASK, 0xff);
    outb(PIC_SLAVE_MASK, 0xff);
    *lapic_register(LAPIC_LVT_TIMER) |= LVT_MASKED;
    *lapic_register(LAPIC_LVT_LINT0) |= LVT_MASKED;
    *lapic_register(LAPIC_TPR) = 0xff;
}

void lapic_unmask_counter_nmi(void)
{
    *lapic_register(LAPIC_LVT_PC) = LVT_NMI;
}
