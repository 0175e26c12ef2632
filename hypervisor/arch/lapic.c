#include "arch/lapic.h"

#define SVR_ENABLE  BIT(8)
#define SVR_VECTOR  0xff
#define LVT_NMI     0x400

static volatile u32 *lapic_register(u32 offset)
{
    return (volatile u32 *)(LAPIC_BASE + offset);
}

void lapic_enable(void)
{
    *lapic_register(LAPIC_SVR) = SVR_ENABLE | SVR_VECTOR;
}

void lapic_unmask_counter_nmi(void)
{
    *lapic_register(LAPIC_LVT_PC) = LVT_NMI;
}
