#include "arch/lapic.h"
#include "arch/cpu.h"

#define SVR_ENABLE     BIT(8)
#define SVR_VECTOR     0xff
#define LVT_NMI        0x400
#define LVT_MASKED     0x10000
#define LVT_PERIODIC   0x20000
#define DIVIDE_BY_1    0xb
#define PRIORITY_CLASS 0x10

#define LAPIC_REQUESTS      0x200 /* a bit a vector, 32 in each 16 bytes */
#define LAPIC_LVT_TIMER     0x320
#define LAPIC_LVT_LINT0     0x350
#define LAPIC_INITIAL_COUNT 0x380
#define LAPIC_CURRENT_COUNT 0x390
#define LAPIC_DIVIDE        0x3e0

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1

static volatile u32 *lapic_register(u32 offset)
{
    return (volatile u32 *)(LAPIC_BASE + offset);
}

void lapic_save(struct lapic_state *state)
{
    bool running = *lapic_register(LAPIC_CURRENT_COUNT) != 0;

    *state = (struct lapic_state){
        .task_priority = *lapic_register(LAPIC_TPR),
        .spurious = *lapic_register(LAPIC_SVR),
        .timer = *lapic_register(LAPIC_LVT_TIMER),
        .timer_divide = *lapic_register(LAPIC_DIVIDE),
        .timer_count = running ? *lapic_register(LAPIC_INITIAL_COUNT) : 0,
        .lint0 = *lapic_register(LAPIC_LVT_LINT0),
        .counter = *lapic_register(LAPIC_LVT_PC),
        .pic_masks = {inb(PIC_MASTER_MASK), inb(PIC_SLAVE_MASK)},
    };
}

void lapic_restore(const struct lapic_state *state)
{
    *lapic_register(LAPIC_DIVIDE) = state->timer_divide;
    *lapic_register(LAPIC_LVT_TIMER) = state->timer;
    *lapic_register(LAPIC_INITIAL_COUNT) = state->timer_count;
    *lapic_register(LAPIC_LVT_LINT0) = state->lint0;
    *lapic_register(LAPIC_LVT_PC) = state->counter;
    *lapic_register(LAPIC_SVR) = state->spurious;
    *lapic_register(LAPIC_TPR) = state->task_priority;
    outb(PIC_SLAVE_MASK, state->pic_masks[1]);
    outb(PIC_MASTER_MASK, state->pic_masks[0]);
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

void lapic_start_timer(u8 vector, u32 period)
{
    *lapic_register(LAPIC_TPR) = (vector & ~(PRIORITY_CLASS - 1u)) - PRIORITY_CLASS;
    *lapic_register(LAPIC_DIVIDE) = DIVIDE_BY_1;
    *lapic_register(LAPIC_LVT_TIMER) = LVT_PERIODIC | vector;
    *lapic_register(LAPIC_INITIAL_COUNT) = period;
}

void lapic_stop_timer(u8 vector)
{
    *lapic_register(LAPIC_LVT_TIMER) |= LVT_MASKED;
    *lapic_register(LAPIC_INITIAL_COUNT) = 0;
    while (*lapic_register(LAPIC_REQUESTS + vector / 32 * 16) & BIT(vector % 32))
        __asm__ volatile("pause");
}

void lapic_unmask_counter_nmi(void)
{
    *lapic_register(LAPIC_LVT_PC) = LVT_NMI;
}

u8 lapic_timer_vector(void)
{
    return (u8)*lapic_register(LAPIC_LVT_TIMER);
}
