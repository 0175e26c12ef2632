/* Switches to another task by a far jump: an exit that the monitor does not handle. */
#include "runtime.h"

#define FIRST_TASK  0x18
#define SECOND_TASK 0x20

struct table_pointer {
    u16 limit;
    u32 base;
} __attribute__((packed));

static u32 tasks[2][26]; /* task-state segments (SDM vol. 3, figure 7-2) */

static u64 gdt[] = {
    0,
    0x00cf9a000000ffff, /* as in start.S */
    0x00cf92000000ffff,
    0x0000890000000000 | (sizeof(tasks[0]) - 1),
    0x0000890000000000 | (sizeof(tasks[1]) - 1),
};

__attribute__((noipa)) static void switch_task(void) {
    __asm__ volatile("ljmp %0, $0" ::"i"(SECOND_TASK));
}

void guest_main(u32 magic, u32 info) {
    struct table_pointer pointer = {sizeof(gdt) - 1, (u32)gdt};
    (void)magic;
    (void)info;
    for (u32 i = 0; i < 2; i++)
        gdt[3 + i] |= (u64)(u32)tasks[i] << 16;
    __asm__ volatile("lgdt %0\n\tltr %w1" ::"m"(pointer), "r"(FIRST_TASK));
    print("switching\n");
    switch_task();
    print("unexpected: switched\n");
}
