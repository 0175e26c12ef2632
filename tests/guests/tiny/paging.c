/* Paging with faults: a window of pages is mapped on demand and unmapped by timer interrupts, so
   where faults happen depends on when the interrupts came. */
#include "runtime.h"

#define INTERRUPTS   24
#define WINDOW       0x40000000u
#define WINDOW_PAGES 256
#define PAGE_PRESENT 1u
#define PAGE_WRITE   2u
#define PAGE_4MIB    0x80u

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 window_table[1024] __attribute__((aligned(4096)));
static u32 backing[4][1024] __attribute__((aligned(4096)));

static volatile u32 interrupts, faults;
static u32 eips[INTERRUPTS], faults_at[INTERRUPTS];

static void invalidate(u32 address) {
    __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}

static void on_timer(struct frame *frame) {
    if (interrupts < INTERRUPTS) {
        eips[interrupts] = frame->eip;
        faults_at[interrupts++] = faults;
    }
    for (u32 page = 0; page < WINDOW_PAGES; page++) {
        window_table[page] = 0;
        invalidate(WINDOW + page * 4096);
    }
    acknowledge_timer();
}

static void on_page_fault(struct frame *frame) {
    u32 address;
    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    if (address < WINDOW || address >= WINDOW + WINDOW_PAGES * 4096) {
        print("page fault at %x, address %x\n", frame->eip, address);
        end_halted();
    }
    faults++;
    u32 page = (address - WINDOW) / 4096;
    window_table[page] = (u32)backing[page % 4] | PAGE_PRESENT | PAGE_WRITE;
}

static void enable_paging(void) {
    for (u32 i = 0; i < 1024; i++)
        directory[i] = i << 22 | PAGE_4MIB | PAGE_PRESENT | PAGE_WRITE;
    directory[WINDOW >> 22] = (u32)window_table | PAGE_PRESENT | PAGE_WRITE;
    u32 value;
    __asm__ volatile("mov %%cr4, %0; or $0x10, %0; mov %0, %%cr4" : "=r"(value));
    __asm__ volatile("mov %0, %%cr3" ::"r"(directory) : "memory");
    __asm__ volatile("mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0" : "=r"(value)::"memory");
}

/* How many window pages have the accessed and the dirty bit set. */
static u32 count_bits(u32 bit) {
    u32 count = 0;
    for (u32 page = 0; page < WINDOW_PAGES; page++)
        count += (window_table[page] & bit) != 0;
    return count;
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    set_handler(14, on_page_fault);
    enable_paging();
    start_timer(2000);
    enable_interrupts();
    u32 random = 1, sum = 0, rounds = 0;
    while (interrupts < INTERRUPTS) {
        random = random * 1664525 + 1013904223;
        volatile u32 *word = (volatile u32 *)(WINDOW + ((random >> 8) & (WINDOW_PAGES * 4096 - 4)));
        if (random & 1 << 30)
            *word += random;
        sum = sum * 31 + *word;
        rounds++;
    }
    disable_interrupts();
    u32 accessed = count_bits(0x20), dirty = count_bits(0x40);
    for (u32 i = 0; i < INTERRUPTS; i++)
        print("%u eip %x faults %u\n", i, eips[i], faults_at[i]);
    print("paging rounds %u faults %u sum %x accessed %u dirty %u\n", rounds, faults, sum, accessed,
          dirty);
    end_reset();
}
