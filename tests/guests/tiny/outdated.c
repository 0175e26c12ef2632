/* Leans on what the TLB holds, as no OS may: takes a page away, and clears its accessed bit, both
   without INVLPG, and looks what comes of it. The CPU may do either. */
#include "runtime.h"

#define ROUNDS        200
#define LOOPS         4000 /* between a change and a look, so that the TLB may forget it */
#define WINDOW        0x40000000u
#define PAGE_PRESENT  1u
#define PAGE_WRITE    2u
#define PAGE_ACCESSED 0x20u
#define PAGE_4MIB     0x80u

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 window_table[1024] __attribute__((aligned(4096)));
static u32 pages[2][1024] __attribute__((aligned(4096)));

static void enable_paging(void) {
    u32 value;
    for (u32 i = 0; i < 1024; i++)
        directory[i] = i << 22 | PAGE_4MIB | PAGE_PRESENT | PAGE_WRITE;
    directory[WINDOW >> 22] = (u32)window_table | PAGE_PRESENT | PAGE_WRITE;
    __asm__ volatile("mov %%cr4, %0; or $0x10, %0; mov %0, %%cr4" : "=r"(value));
    __asm__ volatile("mov %0, %%cr3" ::"r"(directory) : "memory");
    __asm__ volatile("mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0" : "=r"(value)::"memory");
}

static void wait(void) {
    for (volatile u32 i = 0; i < LOOPS; i++)
        continue;
}

void guest_main(u32 magic, u32 info) {
    volatile u32 *window = (volatile u32 *)WINDOW;
    u32 first = 0, set = 0;
    (void)magic;
    (void)info;
    pages[0][0] = 1;
    enable_paging();
    for (u32 round = 0; round < ROUNDS; round++) {
        window_table[0] = (u32)pages[0] | PAGE_PRESENT | PAGE_WRITE;
        __asm__ volatile("invlpg (%0)" ::"r"(window) : "memory");
        first += *window;
        window_table[0] = (u32)pages[1] | PAGE_PRESENT | PAGE_WRITE;
        wait();
        first += *window; /* still of the page before? */
    }
    window_table[1] = (u32)pages[0] | PAGE_PRESENT | PAGE_WRITE;
    for (u32 round = 0; round < ROUNDS; round++) {
        first += window[1024];
        window_table[1] &= ~PAGE_ACCESSED;
        wait();
        first += window[1024];
        set += (window_table[1] & PAGE_ACCESSED) != 0;
    }
    print("outdated: %u of the first page, %u times accessed\n", first, set);
    end_reset();
}
