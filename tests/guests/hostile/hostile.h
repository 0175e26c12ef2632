/* What the hostile guest's modes share: console, traps that come back, random numbers. */
#ifndef LVMM_HOSTILE_H
#define LVMM_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define CODE64 0x08
#define DATA   0x10
#define CODE32 0x18
#define CODE16 0x20

#define LAPIC  0xfee00000ull
#define IOAPIC 0xfec00000ull

/* The registers as enter() takes them. */
struct entry {
    u64 rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    u64 rip, cs, rflags, rsp, ss;
};

extern u64 gdt[];
extern u64 pml4[512], directories[2048], first_table[512];
extern volatile u32 trap_vector; /* of the last trap in attempt() */
extern volatile u8 attempting;
extern volatile u32 current; /* what the mode is at, for whoever looks from outside */
extern volatile u32 trap_counts[256];

extern volatile u32 storm_end; /* how many timer interrupts stop the timer; 0: none */

int attempt(void (*what)(void *), void *argument);
_Noreturn void enter(const struct entry *entry);

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

static inline void out16(u16 port, u16 value)
{
    __asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline void write32(u64 address, u32 value)
{
    *(volatile u32 *)address = value;
}

static inline u32 read32(u64 address)
{
    return *(volatile u32 *)address;
}

void start_console(void);
void put(const char *text);
void put_number(const char *text, u64 number);

/* Numbers that follow from the seed alone. */
void random_seed(u64 seed);
u64 random(void);

/* A word of the command line, as in name=123; `missing` where it is not there. */
u64 option(const char *name, u64 missing);

/* Interrupts the guest every 1/hertz seconds: with an NMI, or with vector 32. */
void start_watchdog(u32 hertz, bool nmi);

/* The modes. */
void mode_memory(void);
void mode_msrs(void);
void mode_ports(void);
void mode_pci(void);
void mode_instructions(void);
void mode_lapic(void);
void mode_timer_storm(void);
void mode_ipi_storm(void);
void mode_nmi_storm(void);
void mode_init(void);
void mode_streams(void);
void mode_wild_streams(void);
void mode_triple_fault(void);
void mode_halt(void);
void mode_spin(void);
void mode_zeros(void);
void mode_idt(void);
void mode_gdt(void);
void mode_tables(void);
void mode_cr3(void);
void mode_cr4(void);
void mode_efer(void);
void mode_task_switch(void);
void mode_entry_state(void);
void mode_stack_in_device(void);
void mode_fetch_hidden(void);
void mode_tsc_back(void);

#endif
