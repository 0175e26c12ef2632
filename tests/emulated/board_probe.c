/* A multiboot program that tries the emulated board's counter, memory and serial lines. It reports
 * on COM1 in lines "name value value ..." (hexadecimal) and powers the machine off. */
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
#define LVT_PMC   (*(volatile u32 *)(LAPIC + 0x340))
#define LAPIC_SVR (*(volatile u32 *)(LAPIC + 0xf0))
#define LVT_NMI   0x400u

/* PM1a_CNT as Bochs's BIOS places it; SLP_EN with sleep type 0 is soft-off. */
#define PM1A_CNT  0xb004
#define POWER_OFF 0x2000

static void out8(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void wrmsr(u32 index, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(index), "A"(value) : "memory");
}

static u64 rdmsr(u32 index)
{
    u64 value;
    __asm__ volatile("rdmsr" : "=A"(value) : "c"(index) : "memory");
    return value;
}

static void put(u16 port, u8 byte)
{
    while (!(in8(port + 5) & 0x20))
        ;
    out8(port, byte);
}

static u8 get(u16 port)
{
    while (!(in8(port + 5) & 1))
        ;
    return in8(port);
}

static void text(const char *s)
{
    while (*s)
        put(COM1, (u8)*s++);
}

static void number(u64 value)
{
    put(COM1, ' ');
    for (int shift = 60; shift >= 0; shift -= 4)
        put(COM1, (u8) "0123456789abcdef"[value >> shift & 15]);
}

static volatile u32 nmi_count;
static volatile u32 nmi_iteration;
static volatile u32 iteration;

__attribute__((interrupt)) static void on_nmi(void *frame)
{
    (void)frame;
    nmi_count++;
    nmi_iteration = iteration;
}

static void install_nmi_handler(void)
{
    static u64 idt[32];
    static struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) idtr;
    u32 handler = (u32)on_nmi;
    u16 cs;
    __asm__("mov %%cs, %0" : "=r"(cs));
    idt[2] = (handler & 0xffff) | (u32)cs << 16 | 0x8e00ull << 32 | (u64)(handler >> 16) << 48;
    idtr.limit = sizeof(idt) - 1;
    idtr.base = (u32)idt;
    __asm__ volatile("lidt %0" : : "m"(idtr));
}

/* Exactly `count` conditional branches, all but the last taken. */
static void branches(u32 count)
{
    __asm__ volatile("movl $0, %0\n"
                     "1: incl %0\n"
                     "   dec %1\n"
                     "   jnz 1b"
                     : "+m"(iteration), "+r"(count)
                     :
                     : "cc", "memory");
}

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
    text("bye\n");
    while (!(in8(COM1 + 5) & 0x40)) /* the last byte has left */
        ;
    __asm__ volatile("outw %0, %1" : : "a"((u16)POWER_OFF), "Nd"((u16)PM1A_CNT));
    for (;;)
        __asm__ volatile("cli; hlt");
}
