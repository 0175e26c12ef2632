/* Interrupts, NMIs and IPIs as fast as they come; the local APIC's other registers. */
#include "hostile.h"

#define ICR_LOW   0x300
#define ICR_HIGH  0x310
#define LVT_TIMER 0x320
#define INITIAL   0x380
#define DIVIDE    0x3e0
#define SVR       0xf0
#define TPR       0x80

#define SELF      0x40000u
#define NMI       0x400u
#define INIT      0x500u
#define STARTUP   0x600u
#define PERIODIC  0x20000u
#define VECTOR    32
#define NMI_COUNT 2

static void enable_lapic(void)
{
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    write32(LAPIC + SVR, 0x1ff);
    write32(LAPIC + TPR, 0);
}

void mode_timer_storm(void)
{
    storm_end = trap_counts[VECTOR] + (u32)option("count", 2000);
    enable_lapic();
    write32(LAPIC + DIVIDE, 0xb);
    write32(LAPIC + LVT_TIMER, PERIODIC | VECTOR);
    write32(LAPIC + INITIAL, 1);
    while (trap_counts[VECTOR] < storm_end)
        __asm__ volatile("sti; nop; nop; cli" ::: "memory");
    storm_end = 0;
    __asm__ volatile("sti; nop; nop; cli" ::: "memory");
    put("timer storm over\n");
}

void mode_ipi_storm(void)
{
    u32 count = (u32)option("count", 2000), before;
    enable_lapic();
    __asm__ volatile("sti" ::: "memory");
    before = trap_counts[VECTOR];
    for (u32 i = 0; i < count; i++)
        write32(LAPIC + ICR_LOW, SELF | VECTOR);
    __asm__ volatile("nop; nop; cli" ::: "memory");
    put_number("ipis ", trap_counts[VECTOR] - before);
}

void mode_nmi_storm(void)
{
    u32 count = (u32)option("count", 2000), before = trap_counts[NMI_COUNT];
    enable_lapic();
    write32(LAPIC + ICR_HIGH, read32(LAPIC + 0x20)); /* the shorthand "self" sends no NMI */
    for (u32 i = 0; i < count; i++) {
        u32 seen = trap_counts[NMI_COUNT];
        write32(LAPIC + ICR_LOW, NMI);
        for (u32 k = 0; k < 1000 && trap_counts[NMI_COUNT] == seen; k++)
            __asm__ volatile("pause");
    }
    put_number("nmis ", trap_counts[NMI_COUNT] - before);
}

/* All registers, also by accesses that the manual calls undefined (SDM vol. 3, 10.4.1). */
void mode_lapic(void)
{
    for (u32 offset = 0; offset < 4096; offset += 4) {
        u64 at = LAPIC + offset, value = random();
        current = offset;
        write32(at, (u32)value);
        (void)read32(at);
        *(volatile u8 *)(at + (value >> 32 & 3)) = (u8)value;
        *(volatile u16 *)(at + (value >> 34 & 2)) = (u16)value;
        (void)*(volatile u8 *)(at + (value >> 36 & 3));
        if (offset % 8 == 0)
            *(volatile u64 *)at = value;
    }
    for (u32 offset = 0; offset < 4096; offset += 4) {
        u64 at = IOAPIC + offset, value = random();
        current = offset;
        write32(at, (u32)value);
        (void)read32(at);
        *(volatile u8 *)(at + (value >> 32 & 3)) = (u8)value;
        (void)*(volatile u16 *)(at + (value >> 36 & 2));
    }
    for (u32 pin = 0; pin < 48; pin++) {
        write32(IOAPIC, 0x10 + pin);
        write32(IOAPIC + 0x10, (u32)random() | 0x10000);
    }
    enable_lapic();
    put("lapic written\n");
}

void mode_init(void)
{
    enable_lapic();
    for (u32 shorthand = 0; shorthand < 4; shorthand++) {
        write32(LAPIC + ICR_HIGH, read32(LAPIC + 0x20));
        write32(LAPIC + ICR_LOW, shorthand << 18 | INIT | 0x4000);
        write32(LAPIC + ICR_LOW, shorthand << 18 | STARTUP | 8);
    }
    put("init survived\n");
}
