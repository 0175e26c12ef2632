/* PAE paging whose page-directory pointers are others in memory than in the CPU, which reads them
   when CR3 is loaded and not again (SDM vol. 3, section 4.4.1). Timer interrupts come meanwhile. */
#include "runtime.h"

#define INTERRUPTS   24
#define WINDOW       0x40000000u /* of the second pointer */
#define PAGE_PRESENT 1u
#define PAGE_WRITE   2u
#define PAGE_2MIB    0x80u
#define ENTRIES      512

static u64 pointers[4] __attribute__((aligned(32)));
static u64 low[ENTRIES] __attribute__((aligned(4096)));
static u64 window[ENTRIES] __attribute__((aligned(4096)));
static u64 other[ENTRIES] __attribute__((aligned(4096)));

static volatile u32 interrupts, places;
static u32 word;

static void on_timer(struct frame *frame) {
    places = places * 31 + frame->eip + frame->ecx;
    interrupts++;
    acknowledge_timer();
}

static void enable_paging(void) {
    u32 value;
    for (u32 i = 0; i < ENTRIES; i++) {
        low[i] = (u64)i << 21 | PAGE_2MIB | PAGE_PRESENT | PAGE_WRITE;
        window[i] = low[i];
    }
    pointers[0] = (u32)low | PAGE_PRESENT;
    pointers[1] = (u32)window | PAGE_PRESENT;
    __asm__ volatile("mov %%cr4, %0; or $0x20, %0; mov %0, %%cr4" : "=r"(value));
    __asm__ volatile("mov %0, %%cr3" ::"r"(pointers) : "memory");
    __asm__ volatile("mov %%cr0, %0; or $0x80000000, %0; mov %0, %%cr0" : "=r"(value)::"memory");
}

void guest_main(u32 magic, u32 info) {
    volatile u32 *seen = (volatile u32 *)(WINDOW + (u32)&word);
    u32 sum = 0;
    (void)magic;
    (void)info;
    set_handler(TIMER_VECTOR, on_timer);
    enable_paging();
    pointers[1] = (u32)other | PAGE_PRESENT; /* which maps nothing */
    print("pae: begin\n");
    start_timer(2000);
    enable_interrupts();
    while (interrupts < INTERRUPTS) {
        word += 3;
        sum = sum * 31 + *seen;
        __asm__ volatile("invlpg (%0)" ::"r"(seen) : "memory");
    }
    disable_interrupts();
    print("pae: %u, places %x, sum %x\n", word % 3, places, sum);
    end_reset();
}
