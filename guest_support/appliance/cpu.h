/* Instructions that C has no words for. */
#ifndef APPLIANCE_CPU_H
#define APPLIANCE_CPU_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define EFLAGS_IF (1u << 9)

static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 in32(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out8(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

/* Returns EFLAGS as they were, for interrupts_restore(). */
static inline u32 interrupts_off(void)
{
    u32 eflags;
    __asm__ volatile("pushf; pop %0; cli" : "=r"(eflags)::"memory");
    return eflags;
}

static inline void interrupts_on(void)
{
    __asm__ volatile("sti" ::: "memory");
}

static inline void interrupts_restore(u32 eflags)
{
    if (eflags & EFLAGS_IF)
        interrupts_on();
}

/* Called with interrupts off; returns with them off when one has been served. STI takes effect
   after the next instruction, so that none can come before the HLT. */
static inline void wait_for_interrupt(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

#endif
