/* Records the middle of its run: before it, CPU state of all sorts is made and devices are at work;
   in it, all that is looked at; behind it, more inputs that no replay may need. */
#include "runtime.h"

#include "lvmm.h"

#define INTERRUPTS 24
#define TASKS      3

#define MSR_SYSENTER_ESP   0x175
#define MSR_PAT            0x277
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_KERNEL_GS_BASE 0xc0000102
#define PAT_ALL_UNCACHED   0x0007040600000006ull

#define BIOS_TICKS 0x46c
#define BIOS_DATE  0xffff5

static const u32 msrs[] = {MSR_SYSENTER_ESP, MSR_PAT, MSR_STAR, MSR_LSTAR, MSR_KERNEL_GS_BASE};

static volatile u32 interrupts;
static u32 places[INTERRUPTS];
static u32 directory[1024] __attribute__((aligned(4096)));
static u8 far_away[1 << 20]; /* most of it stays zeros */

static void on_timer(struct frame *frame) {
    places[interrupts++ % INTERRUPTS] = frame->eip ^ frame->ecx ^ frame->eax;
    acknowledge_timer();
}

static void write_msr(u32 index, u64 value) {
    __asm__ volatile("wrmsr" ::"c"(index), "A"(value));
}

static u64 read_msr(u32 index) {
    u64 value;
    __asm__ volatile("rdmsr" : "=A"(value) : "c"(index));
    return value;
}

/* GCC knows no object at such an address. */
static volatile u32 *at(u32 address) {
    __asm__("" : "+r"(address));
    return (volatile u32 *)address;
}

/* 4 MiB pages, each where it is. */
static void enable_paging(void) {
    for (u32 i = 0; i < 1024; i++)
        directory[i] = i << 22 | 0x83;
    __asm__ volatile("mov %0, %%cr3" ::"r"(directory));
    __asm__ volatile("mov %%cr4, %%eax; or $0x610, %%eax; mov %%eax, %%cr4" ::: "eax");
    __asm__ volatile("mov %%cr0, %%eax; and $~4, %%eax; or $0x80010002, %%eax; mov %%eax, %%cr0"
                     ::: "eax");
}

static void prepare(void) {
    static const u64 pattern[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};

    enable_paging();
    for (u32 i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
        write_msr(msrs[i], msrs[i] == MSR_PAT ? PAT_ALL_UNCACHED : rdtsc() & 0xffffffff);
    __asm__ volatile("mov %0, %%cr2" ::"r"((u32)rdtsc()));
    __asm__ volatile("mov %0, %%dr0; mov %1, %%dr3" ::"r"(0x1234), "r"((u32)rdtsc()));
    __asm__ volatile("fninit; fldpi; fldl2e; movdqu %0, %%xmm5" ::"m"(pattern));
    *at(BIOS_TICKS) = (u32)rdtsc();
    far_away[sizeof(far_away) / 2] = (u8)rdtsc();
}

static void show(void) {
    u32 cr0, cr2, cr3, cr4, dr0, dr3, dr7, flags;
    u64 xmm5[2], st0;
    u32 sum = 0;

    __asm__ volatile("mov %%cr0, %0; mov %%cr2, %1; mov %%cr3, %2; mov %%cr4, %3"
                     : "=r"(cr0), "=r"(cr2), "=r"(cr3), "=r"(cr4));
    __asm__ volatile("mov %%dr0, %0; mov %%dr3, %1; mov %%dr7, %2; pushfl; popl %3"
                     : "=r"(dr0), "=r"(dr3), "=r"(dr7), "=r"(flags));
    __asm__ volatile("movdqu %%xmm5, %0; fstpl %1" : "=m"(xmm5), "=m"(st0));
    print("cr0 %x cr2 %x cr3 %x cr4 %x\n", cr0, cr2, cr3, cr4);
    print("dr0 %x dr3 %x dr7 %x flags %x\n", dr0, dr3, dr7, flags);
    print("xmm5 %X %X st0 %X\n", xmm5[0], xmm5[1], st0);
    for (u32 i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
        print("msr %x %X\n", msrs[i], read_msr(msrs[i]));
    for (u32 i = 0; i < sizeof(far_away); i++)
        sum = sum * 31 + far_away[i];
    print("ticks %x date %x memory %x\n", *at(BIOS_TICKS), *at(BIOS_DATE), sum);
}

static void wait_for_interrupts(void) {
    u32 until = interrupts + INTERRUPTS, spins = 0;

    while (interrupts < until)
        spins++;
    print("interrupts %u spins %u tsc %X\n", interrupts, spins, rdtsc());
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    start_timer(2000);
    prepare();
    print("date %x\n", *at(BIOS_DATE)); /* a firmware page that is touched before */
    enable_interrupts();
    wait_for_interrupts();
    print("stop too early: %x\n", (u32)lvmm_stop_recording());
    print("start: %x\n", (u32)lvmm_start_recording());
    show();
    for (u32 i = 0; i < TASKS; i++) {
        lvmm_task(i, i % 2 ? "odd" : "even");
        wait_for_interrupts();
    }
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%x\n", places[i]);
    print("start again: %x\n", (u32)lvmm_start_recording());
    print("stop: %x\n", (u32)lvmm_stop_recording());
    wait_for_interrupts();
    print("start afterwards: %x\n", (u32)lvmm_start_recording());
    disable_interrupts();
    end_reset();
}
