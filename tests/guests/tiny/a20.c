/* Tries to mask address line A20, under which the monitor lies, in each way that a PC knows. */
#include "runtime.h"

#define KEYBOARD_DATA    0x60
#define KEYBOARD_COMMAND 0x64
#define SYSTEM_CONTROL_A 0x92

/* Bits of the keyboard controller's status. */
#define OUTPUT_FULL 1
#define INPUT_FULL  2

static void wait_for_controller(void) {
    while (in8(KEYBOARD_COMMAND) & INPUT_FULL)
        ;
}

static void command(u8 value) {
    wait_for_controller();
    out8(KEYBOARD_COMMAND, value);
}

static u8 read_output_port(void) {
    command(0xd0);
    while (!(in8(KEYBOARD_COMMAND) & OUTPUT_FULL))
        ;
    return in8(KEYBOARD_DATA);
}

/* Different words at addresses that differ in bit 20 only. */
static void look(const char *after) {
    volatile u32 *low = (volatile u32 *)0x7000, *high = (volatile u32 *)0x307000;
    *low = 1;
    *high = 2;
    print("%s: %s\n", after, *low == 1 ? "A20 is open" : "A20 is masked");
}

void guest_main(u32 magic, u32 info) {
    (void)magic;
    (void)info;
    look("start");
    out8(SYSTEM_CONTROL_A, in8(SYSTEM_CONTROL_A) & 0xfc);
    look("port 0x92");
    command(0xd1);
    wait_for_controller();
    out8(KEYBOARD_DATA, 0xdd);
    look("output port");
    command(0xdd);
    look("command 0xdd");
    print("output port %x\n", read_output_port());
    end_halted();
}
