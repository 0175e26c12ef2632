/* A multiboot program that tries the emulated board's counter in VMX non-root operation: switched
 * by the MSR lists, exact across VM exits, its interrupt before, in and after an exit. */
#include "board_probe.h"

#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VMX_BASIC       0x480

#define CR0_NE   (1u << 5)
#define CR0_PG   (1u << 31)
#define CR4_PSE  (1u << 4)
#define CR4_VMXE (1u << 13)

/* VMCS fields, SDM vol. 3D, appendix B. */
enum {
    GUEST_SELECTORS = 0x800, /* ES, CS, SS, DS, FS, GS, LDTR, TR: two apart */
    HOST_SELECTORS = 0xc00,  /* ES, CS, SS, DS, FS, GS, TR */
    EXIT_STORE_LIST = 0x2006,
    EXIT_LOAD_LIST = 0x2008,
    ENTRY_LOAD_LIST = 0x200a,
    LINK_POINTER = 0x2800,
    PIN_CONTROLS = 0x4000,
    CPU_CONTROLS = 0x4002,
    EXIT_CONTROLS = 0x400c,
    EXIT_STORE_COUNT = 0x400e,
    EXIT_LOAD_COUNT = 0x4010,
    ENTRY_CONTROLS = 0x4012,
    ENTRY_LOAD_COUNT = 0x4014,
    EXIT_REASON = 0x4402,
    EXIT_INTERRUPTION = 0x4404,
    EXIT_LENGTH = 0x440c,
    GUEST_LIMITS = 0x4800, /* as the selectors, then GDTR, IDTR */
    GUEST_RIGHTS = 0x4814,
    GUEST_CR0 = 0x6800,
    GUEST_CR3 = 0x6802,
    GUEST_CR4 = 0x6804,
    GUEST_GDTR_BASE = 0x6816,
    GUEST_TR_BASE = 0x6814,
    GUEST_DR7 = 0x681a,
    GUEST_RIP = 0x681e,
    GUEST_RFLAGS = 0x6820,
    HOST_CR0 = 0x6c00,
    HOST_CR3 = 0x6c02,
    HOST_CR4 = 0x6c04,
    HOST_TR_BASE = 0x6c0a,
    HOST_GDTR_BASE = 0x6c0c,
    HOST_IDTR_BASE = 0x6c0e,
    HOST_RIP = 0x6c16,
};

#define PIN_NMI_EXITING  (1u << 3)
#define PIN_VIRTUAL_NMIS (1u << 5)

#define REASON_NMI    0
#define REASON_VMCALL 18

struct msr_entry {
    u32 index;
    u32 reserved;
    u64 value;
};

static u8 vmxon_region[4096] __attribute__((aligned(4096)));
static u8 vmcs[4096] __attribute__((aligned(4096)));
static u32 page_directory[1024] __attribute__((aligned(4096)));
static u8 tss[104];
static u64 gdt[4];

static struct msr_entry entry_load[1] __attribute__((aligned(16))) = {{MSR_GLOBAL_CTRL, 0, 1}};
static struct msr_entry exit_load[1] __attribute__((aligned(16))) = {{MSR_GLOBAL_CTRL, 0, 0}};
static struct msr_entry exit_store[1] __attribute__((aligned(16))) = {{MSR_PMC0, 0, 0}};

u32 launched;
u32 guest_ecx;
u32 guest_loops;

int enter_guest(void);
void guest_code(void);
void exit_point(void);

/* The guest runs guest_loops branches, then calls; again and again. enter_guest() returns 0 after a
 * VM exit. */
__asm__(".global guest_code, enter_guest, exit_point\n"
        "guest_code:\n"
        "    mov guest_loops, %ecx\n"
        "1:  dec %ecx\n"
        "    jnz 1b\n"
        "    vmcall\n"
        "    jmp guest_code\n"
        "enter_guest:\n"
        "    pusha\n"
        "    mov $0x6c14, %eax\n" /* host RSP */
        "    vmwrite %esp, %eax\n"
        "    mov guest_ecx, %ecx\n"
        "    cmpl $0, launched\n"
        "    jne 2f\n"
        "    vmlaunch\n"
        "    jmp 3f\n"
        "2:  vmresume\n"
        "3:  popa\n"
        "    mov $1, %eax\n"
        "    ret\n"
        "exit_point:\n"
        "    mov %ecx, guest_ecx\n"
        "    popa\n"
        "    xor %eax, %eax\n"
        "    ret\n");

static void vmwrite(u32 field, u32 value)
{
    __asm__ volatile("vmwrite %1, %0" : : "r"(field), "r"(value) : "cc", "memory");
}

static u32 vmread(u32 field)
{
    u32 value;
    __asm__ volatile("vmread %1, %0" : "=r"(value) : "r"(field) : "cc");
    return value;
}

static u32 adjust(u32 capability, u32 wanted)
{
    u64 allowed = rdmsr(capability);
    return (wanted | (u32)allowed) & (u32)(allowed >> 32);
}

static u32 read_cr0(void)
{
    u32 value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static u32 read_cr4(void)
{
    u32 value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static void load_segments(void)
{
    struct {
        u16 limit;
        u32 base;
    } __attribute__((packed)) gdtr = {sizeof(gdt) - 1, (u32)gdt};
    u64 base = (u32)tss;
    gdt[1] = 0x00cf9b000000ffff;
    gdt[2] = 0x00cf93000000ffff;
    gdt[3] = 0x0000890000000067 | (base & 0xffffff) << 16 | (base >> 24) << 56;
    __asm__ volatile("lgdt %0\n"
                     "ljmp $8, $1f\n"
                     "1: mov %1, %%ds\n"
                     "mov %1, %%es\n"
                     "mov %1, %%fs\n"
                     "mov %1, %%gs\n"
                     "mov %1, %%ss\n"
                     "ltr %w2"
                     :
                     : "m"(gdtr), "r"(0x10), "r"(0x18)
                     : "memory");
}

static void start_vmx(void)
{
    for (u32 i = 0; i < 1024; i++)
        page_directory[i] = i << 22 | 0x83; /* 4 MiB, writable, present */
    __asm__ volatile("mov %0, %%cr4" : : "r"(read_cr4() | CR4_PSE | CR4_VMXE));
    __asm__ volatile("mov %0, %%cr3" : : "r"(page_directory) : "memory");
    __asm__ volatile("mov %0, %%cr0" : : "r"(read_cr0() | CR0_PG | CR0_NE) : "memory");
    if (!(rdmsr(MSR_FEATURE_CONTROL) & 1))
        wrmsr(MSR_FEATURE_CONTROL, 5);

    u32 revision = (u32)rdmsr(MSR_VMX_BASIC);
    *(u32 *)vmxon_region = revision;
    *(u32 *)vmcs = revision;
    u64 region = (u32)vmxon_region;
    u64 current = (u32)vmcs;
    __asm__ volatile("vmxon %0" : : "m"(region) : "cc", "memory");
    __asm__ volatile("vmclear %0" : : "m"(current) : "cc", "memory");
    __asm__ volatile("vmptrld %0" : : "m"(current) : "cc", "memory");
}

static void set_state(void)
{
    static const u16 host_selectors[] = {0x10, 8, 0x10, 0x10, 0x10, 0x10, 0x18};
    for (u32 i = 0; i < 7; i++)
        vmwrite(HOST_SELECTORS + 2 * i, host_selectors[i]);
    static const u16 selectors[] = {0x10, 8, 0x10, 0x10, 0x10, 0x10, 0, 0x18};
    static const u32 rights[] = {0xc093, 0xc09b, 0xc093, 0xc093, 0xc093, 0xc093, 0x10000, 0x8b};
    for (u32 i = 0; i < 8; i++) {
        vmwrite(GUEST_SELECTORS + 2 * i, selectors[i]);
        vmwrite(GUEST_RIGHTS + 2 * i, rights[i]);
        vmwrite(GUEST_LIMITS + 2 * i, i == 7 ? 0x67 : 0xffffffff);
    }
    vmwrite(GUEST_LIMITS + 16, sizeof(gdt) - 1);
    vmwrite(GUEST_LIMITS + 18, 0xffff);
    vmwrite(LINK_POINTER, 0xffffffff);
    vmwrite(LINK_POINTER + 1, 0xffffffff);
    vmwrite(GUEST_DR7, 0x400);
    vmwrite(GUEST_RFLAGS, 2);
    vmwrite(GUEST_RIP, (u32)guest_code);
    vmwrite(HOST_RIP, (u32)exit_point);
    vmwrite(GUEST_CR0, read_cr0());
    vmwrite(HOST_CR0, read_cr0());
    vmwrite(GUEST_CR3, (u32)page_directory);
    vmwrite(HOST_CR3, (u32)page_directory);
    vmwrite(GUEST_CR4, read_cr4());
    vmwrite(HOST_CR4, read_cr4());
    vmwrite(GUEST_TR_BASE, (u32)tss);
    vmwrite(HOST_TR_BASE, (u32)tss);
    vmwrite(GUEST_GDTR_BASE, (u32)gdt);
    vmwrite(HOST_GDTR_BASE, (u32)gdt);
    vmwrite(HOST_IDTR_BASE, install_handlers());

    vmwrite(PIN_CONTROLS, adjust(0x481, PIN_NMI_EXITING | PIN_VIRTUAL_NMIS));
    vmwrite(CPU_CONTROLS, adjust(0x482, 0));
    vmwrite(EXIT_CONTROLS, adjust(0x483, 0));
    vmwrite(ENTRY_CONTROLS, adjust(0x484, 0));
    vmwrite(ENTRY_LOAD_LIST, (u32)entry_load);
    vmwrite(ENTRY_LOAD_COUNT, 1);
    vmwrite(EXIT_LOAD_LIST, (u32)exit_load);
    vmwrite(EXIT_LOAD_COUNT, 1);
    vmwrite(EXIT_STORE_LIST, (u32)exit_store);
    vmwrite(EXIT_STORE_COUNT, 1);
}

/* Run the guest to its next VM exit; returns the reason. */
static u32 run_guest(void)
{
    if (enter_guest()) {
        text("entry_failed\n");
        power_off();
    }
    launched = 1;
    u32 reason = vmread(EXIT_REASON);
    if (reason == REASON_VMCALL)
        vmwrite(GUEST_RIP, vmread(GUEST_RIP) + vmread(EXIT_LENGTH));
    return reason;
}

/* `rounds` exits with a varying number of branches before each; the sum against the counter. */
static void exact(u32 rounds)
{
    u32 sum = 0;
    u32 wrong = 0;
    wrmsr(MSR_PMC0, 0);
    for (u32 i = 1; i <= rounds; i++) {
        guest_loops = 1 + i * 7 % 97;
        sum += guest_loops;
        if (run_guest() != REASON_VMCALL)
            wrong++;
        branches(i % 13 + 1); /* the host's must not count */
        if (rdmsr(MSR_PMC0) != sum || exit_store[0].value != sum)
            wrong++;
    }
    text("exact");
    number(rounds);
    number(sum);
    number(rdmsr(MSR_PMC0));
    number(wrong);
    text("\n");
}

/* Overflow `distance` branches into `loops` of the guest. */
static void overflow(u32 distance, u32 loops)
{
    nmi_count = 0;
    wrmsr(MSR_OVF_CTRL, 1);
    wrmsr(MSR_PMC0, (u32)-distance);
    LVT_PMC = LVT_NMI;
    guest_loops = loops;
    u32 reason = run_guest();
    text("overflow");
    number(distance);
    number(loops);
    number(reason);
    number(reason == REASON_NMI ? vmread(EXIT_INTERRUPTION) : 0);
    number(nmi_count);
    number(loops - guest_ecx);
    number(rdmsr(MSR_PMC0));
    text("\n");
    if (reason == REASON_NMI && run_guest() != REASON_VMCALL)
        text("not_resumed\n");
}

void main(void)
{
    out8(COM1 + 3, 3); /* 8N1 */
    load_segments();
    start_vmx();
    set_state();
    LAPIC_SVR = 0x1ff;
    wrmsr(MSR_PERFEVTSEL0, EVTSEL_OS_INT_EN | EVENT_COND);
    exact(2000);
    for (int i = 0; i < 40; i++)
        overflow(500, 2000);
    for (int i = 0; i < 20; i++)
        overflow(500, 500);
    power_off();
}
