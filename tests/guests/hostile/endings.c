/* What no guest survives. */
#include "hostile.h"

#define LME 0x100

struct pointer {
    u16 limit;
    u64 base;
} __attribute__((packed));

static void load_idt(u64 base, u16 limit)
{
    struct pointer pointer = {limit, base};
    __asm__ volatile("lidt %0" ::"m"(pointer));
}

static void load_gdt(u64 base, u16 limit)
{
    struct pointer pointer = {limit, base};
    __asm__ volatile("lgdt %0" ::"m"(pointer));
}

void mode_triple_fault(void)
{
    load_idt(0, 0);
    __asm__ volatile("int3");
}

void mode_halt(void)
{
    __asm__ volatile("cli; hlt");
}

void mode_spin(void)
{
    __asm__ volatile("cli; 1: jmp 1b");
}

/* Zeros are an instruction that adds; they end where memory does. */
void mode_zeros(void)
{
    load_idt(0, 0);
    __asm__ volatile("mov $0x900000, %eax; jmp *%rax");
}

void mode_idt(void)
{
    load_idt(option("at", 0x40000000), 0xfff);
    __asm__ volatile("int $0x21");
}

void mode_gdt(void)
{
    load_gdt(option("at", 0x40000000), 0xffff);
    __asm__ volatile("mov $0x48, %%eax; mov %%eax, %%ds; mov $0x30, %%eax; ltr %%ax" ::: "eax");
}

void mode_tables(void)
{
    for (u32 i = 0; i < 2048; i++)
        directories[i] = random();
    for (u32 i = 0; i < 512; i++)
        first_table[i] = random();
    for (u32 i = 0; i < 512; i++)
        pml4[i] = random();
    __asm__ volatile("mov %0, %%cr3" ::"r"(pml4) : "memory");
}

/* Page tables where the monitor is. */
void mode_cr3(void)
{
    __asm__ volatile("mov %0, %%cr3" ::"r"(option("at", 0x40000000)) : "memory");
}

static void set_cr4(void *argument)
{
    __asm__ volatile("mov %0, %%cr4" ::"r"(*(u64 *)argument) : "memory");
}

void mode_cr4(void)
{
    for (u32 bit = 0; bit < 64; bit++) {
        u64 value = 0x620 ^ 1ull << bit;
        current = bit;
        attempt(set_cr4, &value);
    }
    for (;;) {
        u64 value = random() & 0x7fffff;
        attempt(set_cr4, &value);
        if (current++ > 1000)
            break;
    }
}

static void set_efer(void *argument)
{
    u64 value = *(u64 *)argument;
    __asm__ volatile("wrmsr" ::"c"(0xc0000080), "a"((u32)value), "d"(value >> 32));
}

void mode_efer(void)
{
    for (u32 bit = 0; bit < 64; bit++) {
        u64 value = 0x500 ^ 1ull << bit;
        current = bit;
        attempt(set_efer, &value);
    }
    put("efer written\n");
}

/* Out of long mode into 32-bit code without paging, which `code` continues. */
extern u8 leave_long_mode[];

void mode_task_switch(void)
{
    gdt[5] = 0x0000890000000067; /* a 32-bit TSS */
    gdt[7] = 0x0000850000280000; /* a task gate to it */
    __asm__ volatile("xor %%edi, %%edi; jmp leave_long_mode" ::: "memory");
}

void mode_entry_state(void)
{
    __asm__ volatile("mov %0, %%edi; jmp leave_long_mode" ::"r"((u32)option("case", 1)) : "memory");
}

void mode_stack_in_device(void)
{
    __asm__ volatile(
        "mov %0, %%rsp; push %%rax; call *%%rax; pushfq; int3" ::"r"(option("at", LAPIC + 0x800)));
}

void mode_fetch_hidden(void)
{
    __asm__ volatile("jmp *%0" ::"r"(option("at", 0x40000000)));
}

/* The time-stamp counter goes back; exits keep coming. */
void mode_tsc_back(void)
{
    __asm__ volatile("wrmsr" ::"c"(0x10), "a"(0), "d"(0x1000000));
    for (u32 i = 0; i < 5000; i++)
        in8(0x80);
    __asm__ volatile("wrmsr" ::"c"(0x10), "a"(0), "d"(0));
    for (;;)
        in8(0x80);
}
