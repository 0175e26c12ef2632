/* Writes to a long buffer in each of the ways in which memory is written: by an instruction, by INS,
   and from a device's register; then to some of many variables. */
#include "runtime.h"

#define LOCAL_APIC_VERSION 0xfee00030
#define KEYBOARD_STATUS    0x64
#define PAGE               4096
#define MANY               64

static volatile u8 wide[3 * PAGE] __attribute__((aligned(PAGE)));
static volatile u32 many[MANY][PAGE / sizeof(u32)];

static void input(u16 port, volatile u8 *to, u32 count) {
    __asm__ volatile("cld\n\trep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

static void copy_dword(u32 from, volatile u8 *to) {
    __asm__ volatile("cld\n\tmovsl" : "+S"(from), "+D"(to)::"memory");
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    wide[5000] = 1;
    wide[5000] = 1;
    input(KEYBOARD_STATUS, wide + PAGE - 1, 2);
    copy_dword(LOCAL_APIC_VERSION, wide + 9000);
    wide[9100] = 1;
    many[0][0] = 1;
    many[MANY / 2][0] = 2;
    many[MANY - 1][0] = 3;
    print("status %x version %x\n", wide[PAGE], wide[9000]);
    end_triple_fault();
}
