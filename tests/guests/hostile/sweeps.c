/* Everything in a range is written: memory, MSRs, ports, PCI configuration. */
#include "hostile.h"

#define MIB 0x100000ull
#define GIB 0x40000000ull

#define OWN_START   0x8000ull /* 16-bit streams; what the boot loader passed */
#define OWN_END     0x10000ull
#define IMAGE_START 0x100000ull
#define IMAGE_END   0x200000ull

static u64 high_pages[512] __attribute__((aligned(4096)));

static bool is_own(u64 address)
{
    return (address >= OWN_START && address < OWN_END) ||
           (address >= IMAGE_START && address < IMAGE_END) ||
           (address >= IOAPIC && address < LAPIC + 4096);
}

static void poke(u64 address)
{
    u64 value = random();
    if (is_own(address) || is_own(address + 7))
        return;
    switch (value & 3) {
    case 0:
        *(volatile u8 *)address = (u8)value;
        break;
    case 1:
        *(volatile u16 *)address = (u16)value;
        break;
    case 2:
        *(volatile u32 *)address = (u32)value;
        break;
    default:
        *(volatile u64 *)address = value;
        break;
    }
}

/* Above what the CPU can address this traps. */
static void poke_high(void *address) {
    poke((u64)address);
}

static void fill(u64 address, u64 count)
{
    __asm__ volatile("rep stosl" : "+D"(address), "+c"(count) : "a"(random()) : "memory");
}

/* All that can be addressed; densely where the monitor and its log are. */
void mode_memory(void)
{
    u64 monitor = option("monitor", GIB), end = option("end", GIB + 288 * MIB);
    for (u64 address = 0; address < MIB; address += 64)
        poke(address + random() % 64);
    for (u64 address = 2 * MIB; address < 4 * GIB; address += 2 * MIB)
        for (u32 i = 0; i < 4; i++)
            poke(address + random() % (2 * MIB - 8));
    for (u64 address = monitor; address < end; address += 32768)
        poke(address + random() % 32768);
    for (u64 address = 16 * MIB - 64; address < 16 * MIB + 64; address++)
        poke(address);
    fill(monitor, 2048);
    fill(end - 4096, 1024);
    for (u64 i = 0; i < 512; i++)
        high_pages[i] = (1ull << 38 | i << 30) + 0x83;
    pml4[1] = (u64)high_pages + 3;
    for (u64 i = 4; i < 512; i++)
        ((u64 *)(pml4[0] & ~0xfffull))[i] = i * GIB + 0x83;
    for (u64 i = 4; i < 1024; i++)
        attempt(poke_high, (void *)(i * GIB + random() % (GIB - 8)));
    put_number("memory end ", end);
}

struct msr_access {
    u32 index;
    u64 value;
};

static void write_msr(void *argument)
{
    const struct msr_access *msr = argument;
    __asm__ volatile("wrmsr" ::"c"(msr->index), "a"((u32)msr->value), "d"(msr->value >> 32));
}

static void read_msr(void *argument)
{
    struct msr_access *msr = argument;
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr->index));
    msr->value = low | (u64)high << 32;
}

static u32 sweep_msrs(u32 first, u32 count)
{
    u32 taken = 0;
    for (u32 i = 0; i < count; i++) {
        struct msr_access msr = {first + i, random()};
        if (msr.value & 1)
            msr.value >>= random() & 63;
        current = msr.index;
        taken += attempt(write_msr, &msr) == 0;
        attempt(read_msr, &msr);
    }
    return taken;
}

void mode_msrs(void)
{
    u32 taken = sweep_msrs(0, 0x2000);
    taken += sweep_msrs(0xc0000000, 0x2000);
    taken += sweep_msrs(0x40000000, 0x100);
    taken += sweep_msrs(0xc0010000, 0x200);
    for (u32 i = 0; i < 256; i++)
        taken += sweep_msrs((u32)random(), 1);
    put_number("msrs written ", taken);
}

/* What ends the machine's run in order, and the A20 gate (see hypervisor/core/machine_power.c). */
static bool is_power(u32 port)
{
    u32 power = (u32)option("power", 0xb004);
    return port == 0x60 || port == 0x64 || port == 0x92 || port == 0xcf9 || port == power ||
           port == power + 1;
}

static bool touches_power(u32 port, u32 size)
{
    for (u32 i = 0; i < size; i++)
        if (is_power(port + i))
            return true;
    return false;
}

void mode_ports(void)
{
    for (u32 size = 1; size <= 4; size *= 2)
        for (u32 port = 0; port < 0x10000; port += size) {
            u32 at = port + (size > 1 ? (u32)random() % size : 0);
            if (at + size > 0x10000 || touches_power(at, size))
                continue;
            current = at;
            if (size == 1)
                out8((u16)at, (u8)random());
            else if (size == 2)
                out16((u16)at, (u16)random());
            else
                out32((u16)at, (u32)random());
        }
    start_console();
    put("ports written\n");
}

/* Random values in all of configuration space, in all three sizes. */
void mode_pci(void)
{
    u32 rounds = (u32)option("rounds", 2);
    for (u32 round = 0; round < rounds; round++)
        for (u32 function = 0; function < 8 * 8; function++) {
            out32(0xcf8, 0x80000000 | function << 8);
            if (in32(0xcfc) == 0xffffffff)
                continue;
            for (u32 offset = 0; offset < 256; offset += 4) {
                u64 value = random();
                current = function << 8 | offset;
                out32(0xcf8, 0x80000000 | function << 8 | offset);
                if (round & 1)
                    out8((u16)(0xcfc + (value >> 62)), (u8)value);
                else if (value >> 63)
                    out16((u16)(0xcfc + (value >> 61 & 2)), (u16)value);
                else
                    out32(0xcfc, (u32)value);
            }
        }
    put("pci written\n");
}
