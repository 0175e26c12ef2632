/* What the tiny guests share: console, interrupts, the PC's old timer, ways to end. */
#ifndef LVMM_GUEST_RUNTIME_H
#define LVMM_GUEST_RUNTIME_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define TIMER_VECTOR 0x20 /* where IRQ 0 is mapped */

/* As interrupt_common in start.S leaves it on the stack. */
struct frame {
    u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
    u32 vector, error;
    u32 eip, cs, eflags;
};

typedef void (*interrupt_handler)(struct frame *frame);

static inline u8 in8(u16 port) {
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline u32 in32(u16 port) {
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void out8(u16 port, u8 value) {
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(u16 port, u32 value) {
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline u64 rdtsc(void) {
    u64 value;
    __asm__ volatile("rdtsc" : "=A"(value));
    return value;
}

static inline void enable_interrupts(void) {
    __asm__ volatile("sti" ::: "memory");
}

static inline void disable_interrupts(void) {
    __asm__ volatile("cli" ::: "memory");
}

static inline void halt(void) {
    __asm__ volatile("hlt" ::: "memory");
}

/* Prints a format with %s, %u (decimal), %x (8 hexadecimal digits), %X (u64, 16 digits). */
void print(const char *format, ...);

void set_handler(u8 vector, interrupt_handler handler);

/* Maps the PICs to 0x20.., masks all but IRQ 0 and lets the timer tick `hertz` times a second. */
void start_timer(u32 hertz);
void acknowledge_timer(void);

/* Ways to end the guest. */
_Noreturn void end_halted(void);       /* cli; hlt */
_Noreturn void end_triple_fault(void); /* an empty IDT */
_Noreturn void end_reset(void);        /* keyboard controller's pulse of the reset line */

/* The guest itself. */
void guest_main(u32 magic, u32 info);

#endif
