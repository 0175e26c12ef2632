/* A multiboot program that tries the emulated board's counter, memory and serial lines. It reports
 * on COM1 in lines "name value value ..." (hexadecimal) and powers the machine off. */
#include "board_probe.h"

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

    install_nmi_handler();
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

    *(volatile u64 *)0x00200ff8 = 0x1122334455667788;
    *(volatile u64 *)0x30001000 = 0x8877665544332211;
    *(volatile u64 *)0x53fffff8 = 0xa5a5a5a55a5a5a5a;
    text("memory\n");
    echo();
    power_off();
}
