/* What the board's test programs share: start-up, ports, MSRs, reports on COM1, an NMI handler. */
#ifndef BOARD_PROBE_H
#define BOARD_PROBE_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* The header of the Multiboot specification, 0.6.96: within the first 8 KiB of the file. */
__asm__(".section .text\n"
        "    .balign 4\n"
        "    .long 0x1badb002, 0, -0x1badb002\n"
        ".global start\n"
        "start:\n"
        "    mov $stack_top, %esp\n"
        "    call main\n"
        ".section .bss\n"
        "    .balign 16\n"
        "    .skip 16384\n"
        "stack_top:\n"
        ".section .text\n");

#define COM1 0x3f8
#define COM2 0x2f8

#define MSR_PMC0          0xc1
#define MSR_PERFEVTSEL0   0x186
#define MSR_GLOBAL_STATUS 0x38e
#define MSR_GLOBAL_CTRL   0x38f
#define MSR_OVF_CTRL      0x390
#define MSR_A_PMC0        0x4c1
#define MSR_SMI_COUNT     0x34
#define MSR_PERF_CAP      0x345

#define EVTSEL_OS_INT_EN 0x520000
#define EVENT_COND       0x01c4
#define EVENT_COND_ICL   0x11c4

#define LAPIC     0xfee00000u
#define LAPIC_ID  (*(volatile u32 *)(LAPIC + 0x20))
#define LVT_PMC   (*(volatile u32 *)(LAPIC + 0x340))
#define LAPIC_SVR (*(volatile u32 *)(LAPIC + 0xf0))
#define LAPIC_EOI (*(volatile u32 *)(LAPIC + 0xb0))
#define LAPIC_TMR (*(volatile u32 *)(LAPIC + 0x180 + (VECTOR_LINE / 32) * 16))
#define LVT_NMI   0x400u

#define IOAPIC        0xfec00000u
#define IOAPIC_SELECT (*(volatile u32 *)IOAPIC)
#define IOAPIC_DATA   (*(volatile u32 *)(IOAPIC + 0x10))
#define IOAPIC_LEVEL  0x8000u
#define IOAPIC_MASKED 0x10000u
#define VECTOR_LINE   0x40

/* PM1a_CNT as Bochs's BIOS places it; SLP_EN with sleep type 0 is soft-off. */
#define PM1A_CNT  0xb004
#define POWER_OFF 0x2000

static inline void out8(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void wrmsr(u32 index, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(index), "A"(value) : "memory");
}

static inline u64 rdmsr(u32 index)
{
    u64 value;
    __asm__ volatile("rdmsr" : "=A"(value) : "c"(index) : "memory");
    return value;
}

static inline void put(u16 port, u8 byte)
{
    while (!(in8(port + 5) & 0x20))
        ;
    out8(port, byte);
}

static inline u8 get(u16 port)
{
    while (!(in8(port + 5) & 1))
        ;
    return in8(port);
}

static inline void text(const char *s)
{
    while (*s)
        put(COM1, (u8)*s++);
}

static inline void number(u64 value)
{
    put(COM1, ' ');
    for (int shift = 60; shift >= 0; shift -= 4)
        put(COM1, (u8) "0123456789abcdef"[value >> shift & 15]);
}

static volatile u32 nmi_count;
static volatile u32 nmi_iteration;
static volatile u32 iteration;
static volatile u32 breakpoint_count;

__attribute__((interrupt)) static void on_nmi(void *frame)
{
    (void)frame;
    nmi_count++;
    nmi_iteration = iteration;
}

/* Returns with RF set, so that the instruction is executed (SDM vol. 3, section 17.3.1.1). */
struct interrupt_frame {
    u32 eip, cs, eflags;
};
#define EFLAGS_RF 0x10000

__attribute__((interrupt)) static void on_debug(struct interrupt_frame *frame)
{
    breakpoint_count++;
    *(volatile u32 *)&frame->eflags |= EFLAGS_RF;
}

/* COM1's, as long as its line is high: the third time it lets the line go. */
#define LINE_INTERRUPTS 3

static volatile u32 line_count, line_levels;

__attribute__((interrupt)) static void on_line(void *frame)
{
    (void)frame;
    line_levels += LAPIC_TMR >> VECTOR_LINE % 32 & 1;
    if (++line_count == LINE_INTERRUPTS)
        out8(COM1 + 1, 0);
    LAPIC_EOI = 0;
}

/* Returns the IDT's address. */
static inline u32 install_handlers(void)
{
    static u64 idt[VECTOR_LINE + 1];
    static struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) idtr;
    const u32 handlers[][2] = {{1, (u32)on_debug}, {2, (u32)on_nmi}, {VECTOR_LINE, (u32)on_line}};
    u16 cs;
    __asm__("mov %%cs, %0" : "=r"(cs));
    for (u32 i = 0; i < sizeof(handlers) / sizeof(*handlers); i++)
        idt[handlers[i][0]] = (handlers[i][1] & 0xffff) | (u32)cs << 16 | 0x8e00ull << 32 |
                              (u64)(handlers[i][1] >> 16) << 48;
    idtr.limit = sizeof(idt) - 1;
    idtr.base = (u32)idt;
    __asm__ volatile("lidt %0" : : "m"(idtr));
    return idtr.base;
}

/* Exactly `count` conditional branches, all but the last taken. */
static inline void branches(u32 count)
{
    __asm__ volatile("movl $0, %0\n"
                     "1: incl %0\n"
                     "   dec %1\n"
                     "   jnz 1b"
                     : "+m"(iteration), "+r"(count)
                     :
                     : "cc", "memory");
}

static inline void power_off(void)
{
    text("bye\n");
    while (!(in8(COM1 + 5) & 0x40)) /* the last byte has left */
        ;
    __asm__ volatile("outw %0, %1" : : "a"((u16)POWER_OFF), "Nd"((u16)PM1A_CNT));
    for (;;)
        __asm__ volatile("cli; hlt");
}

#endif
