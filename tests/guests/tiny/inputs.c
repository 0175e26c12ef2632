/* Reads everything that can be read from outside the CPU and its memory. */
#include "runtime.h"

#define ROUNDS        16
#define LAPIC_BASE    0xfee00000u
#define LAPIC_VERSION 0x30
#define LAPIC_DIVIDE  0x3e0
#define LAPIC_INITIAL 0x380
#define LAPIC_CURRENT 0x390
#define IOAPIC_BASE   0xfec00000u

static u32 read_mmio(u32 address) {
    u32 value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static void write_mmio(u32 address, u32 value) {
    *(volatile u32 *)address = value;
}

static u32 read_pit(void) {
    out8(0x43, 0);
    u32 low = in8(0x40);
    return low | (u32)in8(0x40) << 8;
}

static u8 read_cmos(u8 index) {
    out8(0x70, index);
    return in8(0x71);
}

static u32 read_pci(u32 device, u32 offset) {
    out32(0xcf8, 0x80000000u | device << 11 | offset);
    return in32(0xcfc);
}

static u32 rdrand(void) {
    u32 value;
    u8 valid;
    do
        __asm__ volatile("rdrand %0; setc %1" : "=r"(value), "=q"(valid)::"cc");
    while (!valid);
    return value;
}

static u32 rdseed(void) {
    u32 value;
    u8 valid;
    do
        __asm__ volatile("rdseed %0; setc %1" : "=r"(value), "=q"(valid)::"cc");
    while (!valid);
    return value;
}

static u64 rdtscp(u32 *processor) {
    u64 value;
    __asm__ volatile("rdtscp" : "=A"(value), "=c"(*processor));
    return value;
}

static u64 rdmsr(u32 index) {
    u64 value;
    __asm__ volatile("rdmsr" : "=A"(value) : "c"(index));
    return value;
}

static void print_cpuid(u32 leaf, u32 subleaf) {
    u32 eax = leaf, ebx, ecx = subleaf, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    print("cpuid %x %x: %x %x %x %x\n", leaf, subleaf, eax, ebx, ecx, edx);
}

static void read_string_port(u8 *buffer, u32 count) {
    out8(0x70, 0);
    __asm__ volatile("rep insb" : "+D"(buffer), "+c"(count) : "d"(0x71) : "memory");
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    for (u32 leaf = 0; leaf <= 1; leaf++)
        print_cpuid(leaf, 0);
    for (u32 subleaf = 0; subleaf <= 2; subleaf++)
        print_cpuid(7, subleaf);
    print("apic base %X\n", rdmsr(0x1b));
    print("lapic version %x\n", read_mmio(LAPIC_BASE + LAPIC_VERSION));
    write_mmio(IOAPIC_BASE, 1);
    print("ioapic version %x\n", read_mmio(IOAPIC_BASE + 0x10));
    for (u32 device = 0; device < 5; device++)
        print("pci 0:%u %x\n", device, read_pci(device, 0));
    write_mmio(LAPIC_BASE + LAPIC_DIVIDE, 11);
    write_mmio(LAPIC_BASE + LAPIC_INITIAL, 0xffffffffu);
    for (u32 round = 0; round < ROUNDS; round++) {
        u64 tsc = rdtsc();
        u32 pit = read_pit();
        u32 lapic = read_mmio(LAPIC_BASE + LAPIC_CURRENT);
        u32 random = rdrand();
        print("tsc %X pit %x lapic %x rdrand %x\n", tsc, pit, lapic, random);
    }
    u32 processor;
    u64 tsc = rdtscp(&processor);
    print("rdtscp %X processor %u rdseed %x\n", tsc, processor, rdseed());
    print("reset vector %x bios ticks %x\n", read_mmio(0xffff0), read_mmio(0x46c));
    u8 seconds[8];
    read_string_port(seconds, sizeof(seconds));
    print("cmos seconds %x minutes %x hours %x string %x\n", read_cmos(0), read_cmos(2),
          read_cmos(4), seconds[7]);
}
