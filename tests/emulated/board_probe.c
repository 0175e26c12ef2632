/* A multiboot program that tries the emulated board's counter, memory and serial lines. It reports
 * on COM1 in lines "name value value ..." (hexadecimal) and powers the machine off. */
#include "board_probe.h"

extern u8 breakpoint_place[];

static void count_loop(const char *name, u32 event, u32 loops)
{
    wrmsr(MSR_PERFEVTSEL0, EVTSEL_OS_INT_EN | event);
    wrmsr(MSR_PMC0, 0);
    wrmsr(MSR_GLOBAL_CTRL, 1);
    branches(loops);
    u64 live = rdmsr(MSR_PMC0);
    wrmsr(MSR_GLOBAL_CTRL, 0);
    text(name);
    number(live);
    number(rdmsr(MSR_PMC0));
    number(rdmsr(MSR_A_PMC0));
    text("\n");
}

static void widths(void)
{
    wrmsr(MSR_PMC0, 0xfffffe0c);
    text("sign_extended");
    number(rdmsr(MSR_PMC0));
    text("\n");
    wrmsr(MSR_A_PMC0, 0x800012345678);
    text("full_width");
    number(rdmsr(MSR_PMC0));
    text("\n");
}

/* Run `loops` branches with the counter at -`distance`, then stop it. */
static void overflow(u32 distance, u32 loops)
{
    nmi_count = nmi_iteration = iteration = 0;
    wrmsr(MSR_OVF_CTRL, 1);
    LVT_PMC = LVT_NMI;
    wrmsr(MSR_PMC0, (u32)-distance);
    wrmsr(MSR_GLOBAL_CTRL, 1);
    branches(loops);
    wrmsr(MSR_GLOBAL_CTRL, 0);
    text("overflow");
    number(distance);
    number(loops);
    number(nmi_count);
    number(nmi_iteration);
    number(rdmsr(MSR_GLOBAL_STATUS));
    number(LVT_PMC);
    number(rdmsr(MSR_PMC0));
    text("\n");
}

/* On a page of its own, with a place for a breakpoint that only a call with another number than 0
 * comes to. */
__asm__("    .balign 4096\n"
        "other_page:\n"
        "    test %eax, %eax\n"
        "    jz 1f\n"
        ".global breakpoint_place\n"
        "breakpoint_place:\n"
        "    nop\n"
        "1:  ret\n"
        "    .balign 4096\n");

static void breakpoints(void)
{
    __asm__ volatile("mov %0, %%dr0\n"
                     "mov %1, %%dr7"
                     :
                     : "r"(breakpoint_place), "r"(0x402));
    for (u32 i = 0; i < 1000; i++) {
        u32 argument = i % 10 == 9;
        __asm__ volatile("call other_page" : "+a"(argument) : : "cc", "memory");
    }
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400));
    text("breakpoints");
    number(breakpoint_count);
    text("\n");
}

static void set_pin(u32 pin, u32 low)
{
    IOAPIC_SELECT = 0x10 + 2 * pin;
    IOAPIC_DATA = low;
}

/* A line that rises while its pin is masked and edge-triggered for a moment, as Linux has it where
 * the TMR says that a level-triggered interrupt came as another one; and stays high over EOIs. */
static void level_triggered(void)
{
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    IOAPIC_SELECT = 0x11 + 2 * 4;
    IOAPIC_DATA = LAPIC_ID & 0xff000000;
    set_pin(4, VECTOR_LINE | IOAPIC_MASKED);
    out8(COM1 + 4, 8); /* OUT2 connects the UART with its line */
    out8(COM1 + 1, 2); /* and it has room */
    set_pin(4, VECTOR_LINE | IOAPIC_LEVEL);
    __asm__ volatile("sti");
    branches(100000);
    __asm__ volatile("cli");
    set_pin(4, VECTOR_LINE | IOAPIC_MASKED);
    out8(COM1 + 1, 0);
    text("level_triggered");
    number(line_count);
    number(line_levels);
    text("\n");
}

static void echo(void)
{
    out8(COM2 + 2, 0x07); /* FIFOs on and empty */
    u32 length = 0;
    for (int i = 0; i < 4; i++)
        length |= (u32)get(COM2) << 8 * i;
    while (length--)
        put(COM2, get(COM2));
}

void main(void)
{
    out8(COM1 + 3, 3); /* 8N1 */
    out8(COM2 + 3, 3);
    text("probe 1\n");
    count_loop("count", EVENT_COND, 1000);
    count_loop("count_icelake", EVENT_COND_ICL, 12345);
    count_loop("count_other", 0x00c0, 1000);
    widths();

    install_handlers();
    LAPIC_SVR = 0x1ff;
    wrmsr(MSR_PERFEVTSEL0, EVTSEL_OS_INT_EN | EVENT_COND);
    for (int i = 0; i < 40; i++)
        overflow(500, 2000);
    for (int i = 0; i < 20; i++)
        overflow(500, 501);
    text("read_only");
    number(rdmsr(MSR_SMI_COUNT));
    number(rdmsr(MSR_PERF_CAP));
    text("\n");

    breakpoints();
    level_triggered();

    *(volatile u64 *)0x00200ff8 = 0x1122334455667788;
    *(volatile u64 *)0x30001000 = 0x8877665544332211;
    *(volatile u64 *)0x53fffff8 = 0xa5a5a5a55a5a5a5a;
    text("memory\n");
    echo();
    power_off();
}
