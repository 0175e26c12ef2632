#include "panic.h"
#include "console.h"
#include "cpu.h"

/* The keyboard controller's command that pulses the reset line. */
#define KEYBOARD_COMMAND 0x64
#define PULSE_RESET      0xfe

static _Noreturn void halt(void)
{
    for (;;) {
        interrupts_off();
        __asm__ volatile("hlt");
    }
}

void panic(const char *format, ...)
{
    va_list arguments;
    interrupts_off();
    print("appliance: panic: ");
    va_start(arguments, format);
    print_list(format, arguments);
    va_end(arguments);
    print("\n");
    halt();
}

void reset(void)
{
    interrupts_off();
    out8(KEYBOARD_COMMAND, PULSE_RESET);
    halt();
}
