/* Pages that get more rights without INVLPG, while timer interrupts come: whether the TLB still has
   the old entry is up to the CPU, but no guest under the monitor ever sees a fault of it. Each page
   is written too while it is read-only, which faults. */
#include "runtime.h"

#define ROUNDS       400
#define WINDOW       0x40000000u
#define WINDOW_PAGES 16
#define PAGE_PRESENT 1u
#define PAGE_WRITE   2u
#define PAGE_4MIB    0x80u
#define CR0_WP       0x10000u

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 window_table[1024] __attribute__((aligned(4096)));
static u32 backing[WINDOW_PAGES][1024] __attribute__((aligned(4096)));

static volatile u32 interrupts, stale, real, expected, last_eip;

static void on_timer(struct frame *frame) {
    last_eip = last_eip * 31 + frame->eip;
    interrupts++;
    acknowledge_timer();
}

static void on_page_fault(struct frame *frame) {
    u32 address, page;
    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    page = (address - WINDOW) / 4096;
    if (page >= WINDOW_PAGES) {
        print("page fault at %x, address %x\n", frame->eip, address);
        end_halted();
    }
    if (window_table[page] & PAGE_WRITE)
        stale++;
    else
        real++;
    window_table[page] |= PAGE_WRITE;
    __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}

static void enable_paging(void) {
    u32 value;
    for (u32 i = 0; i < 1024; i++)
        directory[i] = i << 22 | PAGE_4MIB | PAGE_PRESENT | PAGE_WRITE;
    directory[WINDOW >> 22] = (u32)window_table | PAGE_PRESENT | PAGE_WRITE;
    __asm__ volatile("mov %%cr4, %0; or $0x10, %0; mov %0, %%cr4" : "=r"(value));
    __asm__ volatile("mov %0, %%cr3" ::"r"(directory) : "memory");
    __asm__ volatile("mov %%cr0, %0; or %1, %0; mov %0, %%cr0"
                     : "=&r"(value)
                     : "i"(0x80000000u | CR0_WP)
                     : "memory");
}

void guest_main(u32 magic, u32 info) {
    u32 sum = 0;
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    set_handler(14, on_page_fault);
    enable_paging();
    start_timer(2000);
    enable_interrupts();
    for (u32 round = 0; round < ROUNDS; round++) {
        u32 page = round % WINDOW_PAGES;
        volatile u32 *word = (volatile u32 *)(WINDOW + page * 4096 + round * 4 % 4096);
        window_table[page] = (u32)backing[page] | PAGE_PRESENT;
        __asm__ volatile("invlpg (%0)" ::"r"(word) : "memory");
        for (u32 i = 0; i < 50 + round; i++)
            sum = sum * 31 + *word;
        if (round % 3 != 0)
            window_table[page] |= PAGE_WRITE; /* and no INVLPG */
        else
            expected++;
        for (u32 i = 0; i < round % 7; i++)
            sum += i;
        *word = sum;
    }
    disable_interrupts();
    print("stale faults %u, others %u of %u, %u interrupts, places %x, sum %x\n", stale, real,
          expected, interrupts, last_eip, sum);
    end_reset();
}
