/* Hypercalls with arguments that are wrong in every way, and from CPL 3. Prints the results. */
#include "runtime.h"

#include "lvmm.h"

#define VECTOR_UD     6
#define VMCALL_LENGTH 3

#define LOCAL_APIC    0xfee00000
#define ROM           0xf0000
#define MONITOR       0x40000000 /* beyond the memory of any test's guest */
#define END_OF_MEMORY 0x1000000

#define USER_CODE  0x1b
#define USER_DATA  0x23
#define TASK_STATE 0x28

struct table_pointer {
    u16 limit;
    u32 base;
} __attribute__((packed));

/* SDM vol. 3, figure 7-2: only where the stack of CPL 0 is matters. */
static struct {
    u32 link, esp0, ss0, rest[23];
} task_state = {.ss0 = 16};

static u64 gdt[] = {
    0,
    0x00cf9a000000ffff, /* as in start.S */
    0x00cf92000000ffff,
    0x00cffa000000ffff, /* the same for CPL 3 */
    0x00cff2000000ffff,
    0x0000890000000000 | (sizeof(task_state) - 1),
};

static u8 user_stack[4096], kernel_stack[4096];
static volatile u32 undefined;

static void on_undefined(struct frame *frame) {
    undefined++;
    if ((frame->cs & 3) == 3) {
        print("cpl 3: #UD\n");
        end_halted();
    }
    frame->eip += VMCALL_LENGTH;
}

static void mark(const char *what, u32 address, u32 length) {
    print("%s: %x\n", what, (u32)lvmm_call(LVMM_CALL_MARK, (const void *)address, length, 0));
}

static void call_from_user(void) {
    struct table_pointer pointer = {sizeof(gdt) - 1, (u32)gdt};
    u64 base = (u32)&task_state;

    gdt[5] |= (base & 0xffffff) << 16 | (base >> 24) << 56;
    task_state.esp0 = (u32)(kernel_stack + sizeof(kernel_stack));
    __asm__ volatile("lgdt %0\n\tltr %w1" ::"m"(pointer), "r"(TASK_STATE));
    __asm__ volatile("mov %w0, %%ds\n\tmov %w0, %%es\n\t"
                     "push %0\n\tpush %1\n\tpush $2\n\tpush %2\n\tpush $1f\n\tiret\n"
                     "1:\tvmcall\n\tjmp 1b" ::"r"(USER_DATA),
                     "r"(user_stack + sizeof(user_stack)), "r"(USER_CODE), "a"(LVMM_MAGIC),
                     "b"(LVMM_CALL_PANIC), "c"("from CPL 3"), "d"(10));
    __builtin_unreachable();
}

void guest_main(u32 magic, u32 info) {
    static char text[LVMM_TEXT_MAX + 1];

    (void)magic;
    (void)info;
    set_handler(VECTOR_UD, on_undefined);
    for (u32 i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 26);
    print("interface: %x\n", (u32)lvmm_present());
    mark("nothing", 0, 0);
    mark("longest", (u32)text, LVMM_TEXT_MAX);
    mark("too long", (u32)text, LVMM_TEXT_MAX + 1);
    mark("endless", (u32)text, 0xffffffff);
    mark("the APIC", LOCAL_APIC, 16);
    mark("ROM never touched", ROM, 16);
    mark("the monitor", MONITOR, 16);
    mark("over the end", END_OF_MEMORY - 8, 16);
    mark("around", 0xfffffff8, 16);
    print("no such call: %x\n", (u32)lvmm_call(77, text, 1, 0));
    __asm__ volatile("vmcall" ::"a"(LVMM_MAGIC + 1), "b"(LVMM_CALL_PANIC), "c"(0), "d"(0));
    print("other magic: %u #UD\n", undefined);
    call_from_user();
}
